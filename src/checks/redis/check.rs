use std::{fmt, future::Future, time::Duration};

use bb8::{ManageConnection, Pool};
use bb8_redis::{
    RedisConnectionManager,
    redis::{aio::MultiplexedConnection, cmd},
};

use super::classify;
use crate::{
    check::{Check, CheckResult},
    checks::pool::{Backend, Engine, Judgement, pool_options},
    report::Failure,
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
        question: Question,
    }
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> Redis<M> {
    pool_options!();
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> Check for Redis<M> {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self.engine.look(&self.question)
    }

    fn kind(&self) -> Option<&'static str> {
        Some("redis")
    }
}

struct Question;

impl<M: ManageConnection<Connection = MultiplexedConnection>> Backend<M> for Question {
    // The driver's own response timeout.
    const TEST_GIVES_UP: Option<Duration> = Some(Duration::from_millis(500));
    const EVICTS_DEAD: bool = false;

    async fn ping(&self, connection: &mut MultiplexedConnection) -> Result<(), Judgement> {
        cmd("PING")
            .exec_async(connection)
            .await
            .map_err(classify::judge)
    }

    fn refusal(&self, error: M::Error) -> Failure {
        classify::refusal(error)
    }
}

impl<M: ManageConnection> fmt::Debug for Redis<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("settings", &self.engine.settings)
            .finish_non_exhaustive()
    }
}
