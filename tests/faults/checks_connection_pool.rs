//! `checks::connection_pool` on a small pool of the test, before real servers.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use bb8_redis::redis::{Client, aio::MultiplexedConnection, cmd};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_health::{
    Check, Failure, Reason,
    checks::{self, ConnectionPool, PingError, PoolCounters},
};

use crate::{
    app::{UP, assert_run, degraded, down},
    support::Redis,
};

const SIZE: u32 = 2;

/// As many pools are: no test at checkout, and no counter but its sizes. It keeps broken connections.
#[derive(Clone)]
struct SmallPool(Arc<Inner>);

struct Inner {
    client: Client,
    permits: Arc<Semaphore>,
    idle: Mutex<VecDeque<MultiplexedConnection>>,
    open: AtomicU32,
}

struct Checkout {
    connection: Option<MultiplexedConnection>,
    pool: SmallPool,
    _permit: OwnedSemaphorePermit,
}

impl SmallPool {
    fn new(url: String) -> Self {
        Self(Arc::new(Inner {
            client: Client::open(url).unwrap(),
            permits: Arc::new(Semaphore::new(SIZE as usize)),
            idle: Mutex::default(),
            open: AtomicU32::new(0),
        }))
    }

    async fn get(&self) -> Result<Checkout, PingError> {
        let permit = self.0.permits.clone().acquire_owned().await;
        let idle = self.0.idle.lock().unwrap().pop_front();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = self.0.client.get_multiplexed_async_connection().await?;
                self.0.open.fetch_add(1, Ordering::SeqCst);
                connection
            }
        };
        Ok(Checkout {
            connection: Some(connection),
            pool: self.clone(),
            _permit: permit.unwrap(),
        })
    }
}

impl Deref for Checkout {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        self.connection.as_ref().unwrap()
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        self.connection.as_mut().unwrap()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let connection = self.connection.take().unwrap();
        self.pool.0.idle.lock().unwrap().push_back(connection);
    }
}

impl ConnectionPool for SmallPool {
    type Connection = MultiplexedConnection;
    type Checkout = Checkout;

    async fn check_out(&self) -> Result<Checkout, Option<Failure>> {
        self.get().await.map_err(|error| Some(error.into()))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let connected = self.0.client.get_multiplexed_async_connection().await;
        connected.map_err(|error| PingError::from(error).into())
    }

    async fn ping(&self, connection: &mut MultiplexedConnection) -> Result<(), PingError> {
        Ok(cmd("PING").exec_async(connection).await?)
    }

    fn counters(&self) -> PoolCounters {
        let idle = self.0.idle.lock().unwrap().len();
        let open = self.0.open.load(Ordering::SeqCst);
        PoolCounters::new(SIZE, open, u32::try_from(idle).unwrap())
    }

    fn keeps_broken(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_custom_pool_is_reported_with_its_cause() {
    let mut server = Redis::start().await;
    let pool = SmallPool::new(server.url());
    let check = checks::connection_pool(pool.clone());
    let sees = async |expected| assert_run(&check, expected, "").await;
    assert_eq!(check.kind(), Some("pool"));
    sees(UP).await;
    let held = (pool.get().await.unwrap(), pool.get().await.unwrap());
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
    // The pool keeps both connections that broke.
    sees(down(Reason::PoolStuck)).await;
}

#[tokio::test]
async fn options_apply_to_a_custom_pool() {
    let mut server = Redis::start().await;
    let pool = SmallPool::new(server.url());
    drop((pool.get().await.unwrap(), pool.get().await.unwrap()));
    let crowded = checks::connection_pool(pool.clone()).degraded_above(0.4);
    let repairs = checks::connection_pool(pool.clone()).repair_pool();
    let held = pool.get().await.unwrap();
    assert_run(&crowded, degraded(Reason::Saturated), "crowded").await;
    drop(held);
    server.restart().await;
    assert_run(&repairs, UP, "repaired").await;
    for _ in 0..SIZE {
        let mut connection = pool.get().await.unwrap();
        assert!(pool.ping(&mut connection).await.is_ok());
    }
}
