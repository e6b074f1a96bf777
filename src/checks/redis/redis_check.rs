//! The public check and its options.

use std::borrow::Cow;

use bb8::{ManageConnection, Pool};
use bb8_redis::{RedisConnectionManager, redis::aio::MultiplexedConnection};

use super::requirements::{Queue, RedisRequirements};
use crate::checks::pool::{Bb8Core, pool_check};

/// A check on a `bb8` pool of Redis connections.
///
/// Up costs one `PING`: the pool's test at checkout, or the check's own if the pool does not
/// test. A server that answers `PING` and refuses writes is up, unless the check requires a write.
///
/// The rules are those of [the module](crate::checks). Clones share their connections. Cancel-safe: a run that
/// is dropped leaves its connection to a detached task.
pub struct RedisCheck<
    M: ManageConnection<Connection = MultiplexedConnection> = RedisConnectionManager,
> {
    core: Bb8Core<M, RedisRequirements>,
}

/// Checks that `pool` delivers connections on which the server answers.
///
/// Accepts any manager of multiplexed `redis` connections: `RedisConnectionManager`, plain or in a [`ConnectTimeoutManager`](crate::checks::ConnectTimeoutManager).
///
/// ```no_run
/// use bb8_redis::RedisConnectionManager;
/// use tower_health::{Health, checks};
///
/// # fn app(pool: bb8::Pool<RedisConnectionManager>) -> Health {
/// Health::builder().check("cache", checks::redis(pool.clone())).build()
/// # }
/// ```
pub fn redis<M>(pool: Pool<M>) -> RedisCheck<M>
where
    M: ManageConnection<Connection = MultiplexedConnection>,
{
    RedisCheck {
        core: Bb8Core::of_bb8(pool, RedisRequirements::default()),
    }
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> RedisCheck<M> {
    /// Requires that a key can be written and read back. Default: off.
    ///
    /// A refused write is down with the reason of its error, as `read_only` or `rejected`; another value is
    /// down with `mismatch`. One more round trip writes a random key, reads it and removes it. If the
    /// connection breaks in between, the key expires after 10 s. The key is `tower-health:` and 16 hexadecimal
    /// digits.
    #[must_use]
    pub fn write_and_read_back(self) -> Self {
        self.write_and_read_back_with_prefix("tower-health:")
    }

    /// Requires the same, with another prefix of the key. Default: off.
    ///
    /// See [`write_and_read_back`](Self::write_and_read_back). For an ACL (`~app:*`) or a hash tag.
    #[must_use]
    pub fn write_and_read_back_with_prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.core.server_mut().write = Some(prefix.into());
        self
    }

    /// Requires a primary, else down (`read_only`). Default: any role.
    ///
    /// Reads `ROLE`. This takes one more round trip, together with the options below.
    #[must_use]
    pub fn primary(mut self) -> Self {
        self.core.server_mut().role = Some("primary");
        self
    }

    /// Requires a replica, else down (`mismatch`). Default: any role.
    #[must_use]
    pub fn replica(mut self) -> Self {
        self.core.server_mut().role = Some("replica");
        self
    }

    /// Adds a list and its lengths from which on the check is degraded or down (`behind`).
    /// Default: no list.
    ///
    /// Reads `LLEN`, and can be called for several lists. `u64::MAX` is never reached.
    #[must_use]
    pub fn queue_depth(
        mut self,
        key: impl Into<Cow<'static, str>>,
        degraded: u64,
        down: u64,
    ) -> Self {
        self.core.server_mut().queues.push(Queue {
            key: key.into(),
            degraded,
            down,
        });
        self
    }

    /// Sets the share of `maxmemory` above which the check is degraded (`exhausted`). Default: off.
    ///
    /// For example `0.9`. A server without `maxmemory` is never above it.
    ///
    /// # Panics
    ///
    /// If `share` is not above 0 and at most 1.
    #[must_use]
    #[track_caller]
    pub fn max_memory_usage(mut self, share: f64) -> Self {
        assert!(
            share > 0.0 && share <= 1.0,
            "max_memory_usage: {share} is not above 0 and at most 1"
        );
        self.core.server_mut().memory = Some(share);
        self
    }
}

pool_check!(
    RedisCheck,
    "redis",
    ManageConnection<Connection = MultiplexedConnection>
);
