//! The Redis pools of the rows.

use bb8_redis::RedisConnectionManager;
use deadpool_redis::{Connection, Manager, Pool};
use redis::{
    Client, Cmd,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};
use tower_health::{Check, checks};
use tower_health_pools::{
    connection_manager::SharedConnection, deadpool_redis_pool::DeadpoolRedis,
};

use crate::{row::SIZE, support::Redis};

/// A pool of [`SIZE`] connections, used as an app does.
pub trait RedisPool: Clone + 'static {
    const NAME: &'static str;
    /// Whether an app gets no connection where the ACL forbids `PING`.
    const NEEDS_PING: bool = false;
    /// Whether checkouts can use the pool up.
    const CAN_SATURATE: bool = true;
    type Checkout: 'static;

    fn new(server: &Redis, port: u16) -> Self;

    fn check(&self) -> impl Check;

    /// `None` is an error.
    async fn get(&self) -> Option<Self::Checkout>;

    async fn execute(checkout: &mut Self::Checkout, command: &Cmd) -> bool;
}

async fn is_executed(connection: &mut MultiplexedConnection, command: &Cmd) -> bool {
    command.exec_async(connection).await.is_ok()
}

/// `bb8` as a reference: the crate's own check.
impl RedisPool for bb8::Pool<RedisConnectionManager> {
    const NAME: &'static str = "bb8";
    const NEEDS_PING: bool = true;
    type Checkout = bb8::PooledConnection<'static, RedisConnectionManager>;

    fn new(server: &Redis, port: u16) -> Self {
        server.pool_through(port, SIZE)
    }

    fn check(&self) -> impl Check {
        checks::redis(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        self.get_owned().await.ok()
    }

    async fn execute(checkout: &mut Self::Checkout, command: &Cmd) -> bool {
        is_executed(checkout, command).await
    }
}

impl RedisPool for DeadpoolRedis {
    const NAME: &'static str = "deadpool-redis";
    type Checkout = Connection;

    fn new(server: &Redis, port: u16) -> Self {
        let manager = Manager::new(server.url_through(port)).expect("a valid URL");
        let pool = Pool::builder(manager).max_size(SIZE as usize).build();
        Self(pool.expect("no timeouts, so no runtime"))
    }

    fn check(&self) -> impl Check {
        checks::connection_pool(self.clone())
    }

    async fn get(&self) -> Option<Connection> {
        self.0.get().await.ok()
    }

    async fn execute(checkout: &mut Connection, command: &Cmd) -> bool {
        is_executed(checkout, command).await
    }
}

impl RedisPool for SharedConnection {
    const NAME: &'static str = "ConnectionManager";
    const CAN_SATURATE: bool = false;
    type Checkout = ConnectionManager;

    fn new(server: &Redis, port: u16) -> Self {
        let client = Client::open(server.url_through(port)).expect("a valid URL");
        let config = ConnectionManagerConfig::new();
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config);
        Self {
            manager: manager.expect("a valid configuration"),
            client,
        }
    }

    fn check(&self) -> impl Check {
        checks::connection_pool(self.clone())
    }

    async fn get(&self) -> Option<ConnectionManager> {
        Some(self.manager.clone())
    }

    async fn execute(checkout: &mut ConnectionManager, command: &Cmd) -> bool {
        command.exec_async(checkout).await.is_ok()
    }
}
