//! The real thing: one pool for the counters, the queue and the checks of both.

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
/// No request waits longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// From so many waiting jobs on the queue is degraded: somebody should look.
const LONG_QUEUE: u64 = 1_000;

#[derive(Clone)]
pub(crate) struct Redis {
    pool: Pool,
}

impl Redis {
    pub(super) fn new(url: &str) -> Result<(Self, String), String> {
        // Without the error's own text, lest it quotes the URL: that holds the password.
        let refuse = |_| "REDIS_URL is no URL of a Redis server".to_owned();
        let client = Client::open(url).map_err(refuse)?;
        let info = client.get_connection_info();
        let server = info.addr().to_string();
        let manager = RedisConnectionManager::new(url).map_err(refuse)?;
        let pool = bb8::Pool::builder()
            .connection_timeout(PATIENCE)
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

    pub(super) async fn count(&self, who: IpAddr) -> Result<u64, Unavailable> {
        let key = format!("{COUNTER}{who}");
        let mut count = pipe();
        // In one step: a counter that lost its end would lock `who` out for good.
        count.atomic();
        count.cmd("SET").arg(&key).arg(0);
        count.arg("EX").arg(WINDOW.as_secs()).arg("NX").ignore();
        count.cmd("INCR").arg(&key);
        let (count,) = self
            .ask(async |redis| count.query_async(redis).await)
            .await?;
        Ok(count)
    }

    pub(super) async fn leave(&self, job: String) -> Result<u64, Unavailable> {
        self.ask(async |redis| cmd("RPUSH").arg(QUEUE).arg(&job).query_async(redis).await)
            .await
    }

    pub(super) async fn take(&self) -> Result<Option<String>, Unavailable> {
        self.ask(async |redis| cmd("LPOP").arg(QUEUE).query_async(redis).await)
            .await
    }

    pub(super) async fn depth(&self) -> Result<u64, Unavailable> {
        self.ask(async |redis| cmd("LLEN").arg(QUEUE).query_async(redis).await)
            .await
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Unavailable> {
        let both = async {
            let connection = self.pool.get().await;
            let mut connection = connection.map_err(|_| Unavailable("no connection"))?;
            let answer = question(&mut connection).await;
            answer.map_err(|_| Unavailable("Redis refuses"))
        };
        let answer = timeout(PATIENCE, both).await;
        answer.unwrap_or(Err(Unavailable("no answer in time")))
    }
}
