//! Redis: one pool for the counters, the queue and the checks of both.

use std::{net::IpAddr, time::Duration};

use bb8_redis::{
    RedisConnectionManager,
    redis::{Client, RedisResult, aio::MultiplexedConnection, cmd, pipe},
};
use tokio::time::timeout;
use tower_health::{
    Dependency,
    checks::{self, ConnectTimeoutManager},
};

use super::{Unavailable, WINDOW};

type Pool = bb8::Pool<ConnectTimeoutManager<RedisConnectionManager>>;

const QUEUE: &str = "redis_required:jobs";
const COUNTER: &str = "redis_required:count:";
const PROBE: &str = "redis_required:probe:";
/// The longest wait of a request for Redis.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A longer queue is reported as degraded.
const LONG_QUEUE: u64 = 1_000;

#[derive(Clone)]
pub(crate) struct Redis {
    pool: Pool,
}

impl Redis {
    pub(super) fn new(url: &str) -> Result<(Self, String), String> {
        // The text of the error may contain the URL, which holds the login.
        let refuse = |_| "REDIS_URL is not the URL of a Redis server".to_owned();
        let client = Client::open(url).map_err(refuse)?;
        let info = client.get_connection_info();
        let server = info.addr().to_string();
        let manager = RedisConnectionManager::new(url).map_err(refuse)?;
        let pool = bb8::Pool::builder()
            .connection_timeout(REQUEST_TIMEOUT)
            .build_unchecked(ConnectTimeoutManager::new(manager));
        Ok((Self { pool }, server))
    }

    pub(super) fn dependencies(&self) -> [Dependency; 2] {
        let check = || checks::redis(self.pool.clone());
        let queue = check().queue_depth(QUEUE, LONG_QUEUE, u64::MAX);
        [
            Dependency::new("redis", check().write_and_read_back_with_prefix(PROBE)),
            Dependency::new("queue", queue),
        ]
    }

    pub(super) async fn count(&self, client: IpAddr) -> Result<u64, Unavailable> {
        let key = format!("{COUNTER}{client}");
        let mut count = pipe();
        // Atomic: a counter without an expiry would lock `client` out permanently.
        count.atomic();
        count.cmd("SET").arg(&key).arg(0);
        count.arg("EX").arg(WINDOW.as_secs()).arg("NX").ignore();
        count.cmd("INCR").arg(&key);
        let (count,) = self
            .run(async |redis| count.query_async(redis).await)
            .await?;
        Ok(count)
    }

    pub(super) async fn push(&self, job: String) -> Result<u64, Unavailable> {
        self.run(async |redis| cmd("RPUSH").arg(QUEUE).arg(&job).query_async(redis).await)
            .await
    }

    pub(super) async fn take(&self) -> Result<Option<String>, Unavailable> {
        self.run(async |redis| cmd("LPOP").arg(QUEUE).query_async(redis).await)
            .await
    }

    pub(super) async fn depth(&self) -> Result<u64, Unavailable> {
        self.run(async |redis| cmd("LLEN").arg(QUEUE).query_async(redis).await)
            .await
    }

    async fn run<T>(
        &self,
        command: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Unavailable> {
        let both = async {
            let connection = self.pool.get().await;
            let mut connection = connection.map_err(|_| Unavailable("no connection"))?;
            let reply = command(&mut connection).await;
            reply.map_err(|_| Unavailable("Redis rejects the command"))
        };
        let reply = timeout(REQUEST_TIMEOUT, both).await;
        reply.unwrap_or(Err(Unavailable("no answer in time")))
    }
}
