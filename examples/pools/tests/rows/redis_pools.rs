//! The Redis pools of the rows.

use bb8_redis::RedisConnectionManager;
use deadpool_redis::{Connection, Manager, Pool};
use redis::{
    Client, Cmd,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tower_health::{Check, checks};
use tower_health_pools::{
    connection_manager::SharedConnection, deadpool_redis_pool::DeadpoolRedis,
    tested_checkouts::TestedCheckouts,
};

use crate::{
    row::{AppPool, SIZE},
    support::Redis,
};

pub trait RedisPool: AppPool {
    /// Whether an app gets no connection where the ACL forbids `PING`.
    const NEEDS_PING: bool = false;
    /// Whether checkouts can use the pool up.
    const CAN_SATURATE: bool = true;

    fn new(server: &Redis, port: u16) -> Self;

    async fn execute(checkout: &mut Self::Checkout, command: &Cmd) -> bool;
}

/// `bb8` as a reference: the crate's own check.
impl AppPool for bb8::Pool<RedisConnectionManager> {
    const NAME: &'static str = "bb8";
    type Checkout = bb8::PooledConnection<'static, RedisConnectionManager>;

    fn check(&self) -> impl Check {
        checks::redis(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        self.get_owned().await.ok()
    }
}

impl RedisPool for bb8::Pool<RedisConnectionManager> {
    const NEEDS_PING: bool = true;

    fn new(server: &Redis, port: u16) -> Self {
        server.pool_through(port, SIZE)
    }

    async fn execute(checkout: &mut Self::Checkout, command: &Cmd) -> bool {
        command.exec_async(&mut **checkout).await.is_ok()
    }
}

#[derive(Clone)]
pub struct Deadpool {
    pool: Pool,
    tested: TestedCheckouts,
}

impl AppPool for Deadpool {
    const NAME: &'static str = "deadpool-redis";
    type Checkout = Connection;

    fn check(&self) -> impl Check {
        checks::connection_pool(DeadpoolRedis {
            pool: self.pool.clone(),
            tested: Some(self.tested.clone()),
        })
    }

    async fn get(&self) -> Option<Connection> {
        self.pool.get().await.ok()
    }
}

impl RedisPool for Deadpool {
    fn new(server: &Redis, port: u16) -> Self {
        let manager = Manager::new(server.url_through(port)).expect("a valid URL");
        let tested = TestedCheckouts::default();
        let builder = tested.count_deadpool(Pool::builder(manager).max_size(SIZE as usize));
        Self {
            pool: builder.build().expect("no timeouts, so no runtime"),
            tested,
        }
    }

    async fn execute(checkout: &mut Self::Checkout, command: &Cmd) -> bool {
        command.exec_async(checkout).await.is_ok()
    }
}

impl AppPool for SharedConnection {
    const NAME: &'static str = "ConnectionManager";
    type Checkout = ConnectionManager;

    fn check(&self) -> impl Check {
        checks::connection_pool(self.clone())
    }

    async fn get(&self) -> Option<ConnectionManager> {
        Some(self.manager.clone())
    }
}

impl RedisPool for SharedConnection {
    const CAN_SATURATE: bool = false;

    fn new(server: &Redis, port: u16) -> Self {
        let client = Client::open(server.url_through(port)).expect("a valid URL");
        let config = ConnectionManagerConfig::new();
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config);
        Self {
            manager: manager.expect("a valid configuration"),
            client,
        }
    }

    async fn execute(checkout: &mut Self::Checkout, command: &Cmd) -> bool {
        command.exec_async(checkout).await.is_ok()
    }
}
