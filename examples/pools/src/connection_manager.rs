//! A `redis` `ConnectionManager` without a pool: one connection that all requests share.

use redis::{
    Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cmd,
};
use tower_health::{
    Failure,
    checks::{ConnectionPool, PingError, PoolCounters},
};

/// The app's manager, and its client for the dedicated connection.
#[derive(Clone)]
pub struct SharedConnection {
    pub manager: ConnectionManager,
    pub client: Client,
}

impl ConnectionPool for SharedConnection {
    type Connection = ConnectionManager;
    /// A clone: the connection is never exclusive.
    type Checkout = Box<ConnectionManager>;

    async fn check_out(&self) -> Result<Self::Checkout, Option<Failure>> {
        Ok(Box::new(self.manager.clone()))
    }

    async fn connect(&self) -> Result<ConnectionManager, Failure> {
        // One attempt: the check retries by itself, and wants the cause.
        let once = ConnectionManagerConfig::new().set_number_of_retries(0);
        let connected = ConnectionManager::new_with_config(self.client.clone(), once).await;
        connected.map_err(|error| PingError::from(error).into())
    }

    async fn ping(&self, connection: &mut ConnectionManager) -> Result<(), PingError> {
        Ok(cmd("PING").exec_async(connection).await?)
    }

    fn counters(&self) -> PoolCounters {
        // One connection, which is always free for one more request.
        PoolCounters::new(1, 1, 1)
    }
}
