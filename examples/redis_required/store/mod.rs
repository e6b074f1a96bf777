//! The store of the counters and the queue: Redis, or memory in demo mode.

mod memory;
mod redis;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use tower_health::Dependency;

use self::{memory::Memory, redis::Redis};

/// Each request runs the checks, at most 1,000 times a second: no result from before a fault is returned.
const CACHE_FOR: Duration = Duration::from_millis(1);
/// The period in which requests are counted.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) enum Store {
    Redis(Redis),
    Memory(Arc<Memory>),
}

/// The store failed. Displays the cause without secrets.
#[derive(Debug)]
pub(crate) struct Unavailable(&'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Store {
    /// A store in the Redis at `url`, and the address to print. Does not connect yet.
    pub(crate) fn in_redis(url: &str) -> Result<(Self, String), String> {
        let (redis, server) = Redis::new(url)?;
        Ok((Self::Redis(redis), server))
    }

    pub(crate) fn in_memory() -> Self {
        Self::Memory(Arc::default())
    }

    /// The dependencies: `redis`, which must keep what is written, and `queue`.
    pub(crate) fn dependencies(&self) -> [Dependency; 2] {
        let both = match self {
            Self::Redis(redis) => redis.dependencies(),
            Self::Memory(memory) => memory::dependencies(memory),
        };
        both.map(|dependency| dependency.cache_for(CACHE_FOR))
    }

    /// Counts a request of `client`, and returns its requests in this minute.
    pub(crate) async fn count(&self, client: IpAddr) -> Result<u64, Unavailable> {
        match self {
            Self::Redis(redis) => redis.count(client).await,
            Self::Memory(memory) => memory.count(client),
        }
    }

    /// Adds a job, and returns the length of the queue.
    pub(crate) async fn push(&self, job: String) -> Result<u64, Unavailable> {
        match self {
            Self::Redis(redis) => redis.push(job).await,
            Self::Memory(memory) => memory.push(job),
        }
    }

    /// Takes the oldest job.
    pub(crate) async fn take(&self) -> Result<Option<String>, Unavailable> {
        match self {
            Self::Redis(redis) => redis.take().await,
            Self::Memory(memory) => Ok(memory.take()),
        }
    }

    /// The length of the queue.
    pub(crate) async fn depth(&self) -> Result<u64, Unavailable> {
        match self {
            Self::Redis(redis) => redis.depth().await,
            Self::Memory(memory) => Ok(memory.depth()),
        }
    }
}
