//! Where the counters and the queue are: Redis, or memory in demo mode.

mod memory;
mod redis;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use tower_health::Dependency;

use self::{memory::Memory, redis::Redis};

/// A verdict from before a fault is no answer here: each question reaches the server, a thousand a second at most.
const SHARED_FOR: Duration = Duration::from_millis(1);
/// A count of requests holds for this long.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) enum Store {
    Redis(Redis),
    Memory(Arc<Memory>),
}

/// The store does not do its work now. Displays as why, without secrets.
#[derive(Debug)]
pub(crate) struct Unavailable(&'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Store {
    /// One in the Redis at `url`, and what of that may be printed. Connects to nothing yet.
    pub(crate) fn in_redis(url: &str) -> Result<(Self, String), String> {
        let (redis, server) = Redis::new(url)?;
        Ok((Self::Redis(redis), server))
    }

    pub(crate) fn in_memory() -> Self {
        Self::Memory(Arc::default())
    }

    /// What is checked: `redis`, which must keep what is written, and `queue`.
    pub(crate) fn dependencies(&self) -> [Dependency; 2] {
        let both = match self {
            Self::Redis(redis) => redis.dependencies(),
            Self::Memory(memory) => memory::dependencies(memory),
        };
        both.map(|dependency| dependency.cache_for(SHARED_FOR))
    }

    /// Counts one request of `who`'s; how many there were within a minute.
    pub(crate) async fn count(&self, who: IpAddr) -> Result<u64, Unavailable> {
        match self {
            Self::Redis(redis) => redis.count(who).await,
            Self::Memory(memory) => memory.count(who),
        }
    }

    /// Leaves a job; how many wait then.
    pub(crate) async fn leave(&self, job: String) -> Result<u64, Unavailable> {
        match self {
            Self::Redis(redis) => redis.leave(job).await,
            Self::Memory(memory) => memory.leave(job),
        }
    }

    /// Takes the oldest job.
    pub(crate) async fn take(&self) -> Result<Option<String>, Unavailable> {
        match self {
            Self::Redis(redis) => redis.take().await,
            Self::Memory(memory) => Ok(memory.take()),
        }
    }

    /// How many jobs wait.
    pub(crate) async fn depth(&self) -> Result<u64, Unavailable> {
        match self {
            Self::Redis(redis) => redis.depth().await,
            Self::Memory(memory) => Ok(memory.depth()),
        }
    }
}
