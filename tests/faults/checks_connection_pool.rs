//! `checks::connection_pool` on a small pool of the test, before a real server.

use std::sync::Arc;

use bb8_redis::redis::{Client, aio::MultiplexedConnection, cmd};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tower_health::{
    Check, Failure, Reason,
    checks::{self, ConnectionPool, PingError, PoolCounters},
};

use crate::{
    app::{UP, assert_run, degraded, down},
    support::Redis,
};

/// As many pools are: no test at checkout, and no counter but its sizes. It keeps its broken connection.
#[derive(Clone)]
struct PoolOfOne {
    client: Client,
    connection: Arc<Mutex<MultiplexedConnection>>,
}

impl ConnectionPool for PoolOfOne {
    type Connection = MultiplexedConnection;
    type Checkout = OwnedMutexGuard<MultiplexedConnection>;

    async fn check_out(&self) -> Result<Self::Checkout, Option<Failure>> {
        Ok(self.connection.clone().lock_owned().await)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let connected = self.client.get_multiplexed_async_connection().await;
        connected.map_err(|error| PingError::from(error).into())
    }

    async fn ping(&self, connection: &mut MultiplexedConnection) -> Result<(), PingError> {
        Ok(cmd("PING").exec_async(connection).await?)
    }

    fn counters(&self) -> PoolCounters {
        PoolCounters::new(1, 1, u32::from(self.connection.try_lock().is_ok()))
    }

    fn keeps_broken(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_custom_pool_is_reported_with_its_cause() {
    let mut server = Redis::start().await;
    let pool = PoolOfOne {
        client: Client::open(server.url()).unwrap(),
        connection: Arc::new(Mutex::new(server.connection().await)),
    };
    let check = checks::connection_pool(pool.clone());
    let sees = async |expected| assert_run(&check, expected, "").await;
    assert_eq!(check.kind(), Some("pool"));
    sees(UP).await;
    let held = pool.check_out().await.ok();
    sees(degraded(Reason::Saturated)).await;
    drop(held);
    sees(UP).await;
    server.freeze();
    sees(down(Reason::Timeout)).await;
    server.thaw();
    sees(UP).await;
    server.kill();
    sees(down(Reason::Refused)).await;
    server.restart().await;
    sees(down(Reason::PoolStuck)).await;
    assert_run(&check.clone().repair_pool(), UP, "repaired").await;
    assert!(pool.ping(&mut *pool.connection.lock().await).await.is_ok());
}
