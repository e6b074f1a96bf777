//! `deadpool_redis::Pool`.

use deadpool::managed::Manager;
use deadpool_redis::{Connection, Pool, PoolError};
use redis::{RedisError, aio::MultiplexedConnection, cmd};
use tower_health::{
    Failure, Reason,
    checks::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
};

/// The app's pool. Its hooks do not run on the dedicated connection.
#[derive(Clone, Debug)]
pub struct DeadpoolRedis(pub Pool);

impl ConnectionPool for DeadpoolRedis {
    type Connection = MultiplexedConnection;
    type Checkout = Connection;

    async fn check_out(&self) -> Result<Connection, Option<Failure>> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => None,
            PoolError::Backend(error) => Some(failure(error)),
            other => Some(Failure::new(Reason::Failed).caused_by(other)),
        })
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        self.0.manager().create().await.map_err(failure)
    }

    async fn ping(&self, connection: &mut MultiplexedConnection) -> Result<(), PingError> {
        Ok(cmd("PING").exec_async(connection).await?)
    }

    fn counters(&self) -> PoolCounters {
        let status = self.0.status();
        let [max, open, idle] = [status.max_size, status.size, status.available]
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        PoolCounters::new(max, open, idle)
    }

    fn checkout_test(&self) -> CheckoutTest {
        // Idle connections only: a new one is not tested.
        CheckoutTest::Unknown
    }
}

fn failure(error: RedisError) -> Failure {
    PingError::from(error).into()
}
