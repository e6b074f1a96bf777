//! `deadpool_redis::Pool`.

use deadpool_redis::{Connection, Manager};
use redis::{RedisError, aio::MultiplexedConnection, cmd};

use crate::deadpool_pool::{Deadpool, PingManager};

/// The app's pool. Its test sends `PING`.
pub type DeadpoolRedis = Deadpool<Manager, Connection>;

impl PingManager for Manager {
    async fn ping(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        cmd("PING").exec_async(connection).await
    }
}
