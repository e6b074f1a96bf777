use std::{borrow::Cow, fmt, future::Future};

use bb8::{ManageConnection, Pool};
use bb8_redis::{RedisConnectionManager, redis::aio::MultiplexedConnection};
use tokio::time::Instant;

use super::question::{Question, Queue};
use crate::{
    check::{Check, CheckResult},
    checks::pool::{Engine, pool_options},
    dependency::DEFAULT_TIMEOUT,
};

/// Whether a Redis serves the app through its own pool.
///
/// Up costs one `PING`: the pool's test at checkout, or the check's own where the
/// pool does not test. A server that answers `PING` and refuses writes is up, unless
/// the check was asked to prove a write.
///
/// The steps are those of [the module](crate::checks). Cancel-safe.
pub struct Redis<M: ManageConnection = RedisConnectionManager> {
    engine: Engine<M>,
    question: Question,
}

/// A check on `pool`.
///
/// Any manager of `redis` multiplexed connections will do, as `RedisConnectionManager` is,
/// plain or in a [`GuardedManager`](crate::checks::GuardedManager).
///
/// ```no_run
/// use bb8_redis::RedisConnectionManager;
/// use tower_health::{Health, checks};
///
/// # fn app(pool: bb8::Pool<RedisConnectionManager>) -> Health {
/// Health::builder().check("cache", checks::redis(pool.clone())).build()
/// # }
/// ```
pub fn redis<M>(pool: Pool<M>) -> Redis<M>
where
    M: ManageConnection<Connection = MultiplexedConnection>,
{
    Redis {
        engine: Engine::new(pool),
        question: Question::default(),
    }
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> Redis<M> {
    pool_options!();

    /// Down (`read_only`) unless a key can be written and read back. Default: off.
    ///
    /// One more round trip writes a key of its own, unlike any other's, reads it and removes it;
    /// where the run is cut off in between it expires after 10 s. The key is `tower-health:` and 16 digits.
    #[must_use]
    pub fn write_and_read_back(self) -> Self {
        self.write_and_read_back_with_prefix("tower-health:")
    }

    /// The same with another beginning of the key, as an ACL (`~app:*`) or a hash tag may need. Default: off.
    #[must_use]
    pub fn write_and_read_back_with_prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.question.write = Some(prefix.into());
        self
    }

    /// Down (`read_only`) unless the server is a primary. Default: either will do.
    ///
    /// Asks for `ROLE`, which is one more round trip, together with the options below.
    #[must_use]
    pub fn primary(mut self) -> Self {
        self.question.role = Some("primary");
        self
    }

    /// Down (`mismatch`) unless the server is a replica. Default: either will do.
    #[must_use]
    pub fn replica(mut self) -> Self {
        self.question.role = Some("replica");
        self
    }

    /// Degraded (`behind`) from so many elements in the list at `key` on, and down from so many more. Default: no queue.
    ///
    /// Asks for `LLEN`. Can be called for several lists. `u64::MAX` is never reached.
    #[must_use]
    pub fn queue_depth(
        mut self,
        key: impl Into<Cow<'static, str>>,
        degraded: u64,
        down: u64,
    ) -> Self {
        self.question.queues.push(Queue {
            key: key.into(),
            degraded,
            down,
        });
        self
    }

    /// Degraded (`exhausted`) while more than this share of `maxmemory` is used. Default: off.
    ///
    /// As in `0.9`. A server without `maxmemory` has no share that could be used up.
    #[must_use]
    pub fn max_memory_usage(mut self, share: f64) -> Self {
        self.question.memory = Some(share);
        self
    }
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> Check for Redis<M> {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self.check_until(Instant::now() + DEFAULT_TIMEOUT)
    }

    fn check_until(&self, deadline: Instant) -> impl Future<Output = CheckResult> + Send {
        self.engine.look(&self.question, deadline)
    }

    fn kind(&self) -> Option<&'static str> {
        Some("redis")
    }
}

impl<M: ManageConnection> fmt::Debug for Redis<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("settings", &self.engine.settings)
            .finish_non_exhaustive()
    }
}
