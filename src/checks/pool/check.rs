//! The check for a manager that this crate knows nothing of.

use std::{any::Any, error::Error, fmt, future::Future, io, pin::Pin, sync::Arc};

use bb8::{ManageConnection, Pool};
use tokio::time::Instant;

use super::{
    backend::{Backend, Judgement},
    engine::Engine,
    settings::pool_options,
};
use crate::{
    check::{Check, CheckResult},
    checks::guarded::GuardedError,
    dependency::DEFAULT_TIMEOUT,
    report::{Failure, Reason, reason_of_io},
};

/// Whether any `bb8` pool delivers connections that work.
///
/// For Postgres and Redis use the checks of these names, which know what the errors mean. Here the pool's
/// own test at checkout is the question, so a pool built with
/// `test_on_check_out(false)` needs one of its own: see [`ping`](Self::ping).
///
/// The steps are those of [the module](crate::checks). Cancel-safe.
pub struct PoolCheck<M: ManageConnection> {
    engine: Engine<M>,
    questions: Questions<M>,
}

/// A check on `pool`: up while it delivers connections that pass their test.
///
/// ```no_run
/// # use tower_health::{Health, checks};
/// # fn app<M: bb8::ManageConnection>(pool: bb8::Pool<M>) -> Health {
/// Health::builder().check("broker", checks::pool(pool)).build()
/// # }
/// ```
pub fn pool<M: ManageConnection>(pool: Pool<M>) -> PoolCheck<M> {
    PoolCheck {
        engine: Engine::new(pool),
        questions: Questions {
            ping: None,
            reason_of: None,
        },
    }
}

impl<M: ManageConnection> PoolCheck<M> {
    pool_options!();

    /// Asks the server on a connection with `ping`. Default: the manager's own test at checkout, and no more.
    ///
    /// Called where the pool does not test, and on the connection beside the pool. Without
    /// it a pool with `test_on_check_out(false)` is up when it hands out a connection,
    /// which proves nothing about the server, and the outcome says `"tested": false`.
    #[must_use]
    pub fn ping<F>(mut self, ping: F) -> Self
    where
        F: for<'a> Fn(&'a mut M::Connection) -> PingFuture<'a, M::Error> + Send + Sync + 'static,
    {
        self.questions.ping = Some(Arc::new(ping));
        self
    }

    /// Says which reason an error of the manager's is. Default: `io` errors by their kind, all others `failed`.
    #[must_use]
    pub fn classify_errors(
        mut self,
        reason_of: impl Fn(&M::Error) -> Reason + Send + Sync + 'static,
    ) -> Self {
        self.questions.reason_of = Some(Arc::new(reason_of));
        self
    }
}

/// What the closure of [`PoolCheck::ping`] returns.
pub type PingFuture<'a, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'a>>;

type Ping<C, E> = dyn for<'a> Fn(&'a mut C) -> PingFuture<'a, E> + Send + Sync;

type ReasonOf<E> = dyn Fn(&E) -> Reason + Send + Sync;

struct Questions<M: ManageConnection> {
    ping: Option<Arc<Ping<M::Connection, M::Error>>>,
    reason_of: Option<Arc<ReasonOf<M::Error>>>,
}

impl<M: ManageConnection> Check for PoolCheck<M> {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self.check_until(Instant::now() + DEFAULT_TIMEOUT)
    }

    async fn check_until(&self, deadline: Instant) -> CheckResult {
        let result = self.engine.look(&self.questions, deadline).await;
        if self.questions.ping.is_some() || self.engine.pool.config().test_on_check_out {
            return result;
        }
        result.map(|outcome| outcome.observe("tested", false))
    }

    fn kind(&self) -> Option<&'static str> {
        Some("pool")
    }
}

impl<M: ManageConnection> Backend<M> for Questions<M> {
    async fn ping(&self, connection: &mut M::Connection) -> Result<(), Judgement> {
        let Some(ping) = &self.ping else {
            return Ok(());
        };
        let asked = ping(connection).await;
        asked.map_err(|error| Judgement::Gone(self.refusal(error)))
    }

    fn refusal(&self, error: M::Error) -> Failure {
        let reason = match &self.reason_of {
            Some(reason_of) => reason_of(&error),
            None => usual_reason(&error),
        };
        // Nothing is known of the type but `Debug`; the log takes secrets out.
        Failure::new(reason).caused_by(format!("{error:?}"))
    }
}

/// The reason of an error whose type is not known here.
fn usual_reason<E: 'static>(error: &E) -> Reason {
    let error: &dyn Any = error;
    let inner: Option<&io::Error> = match error.downcast_ref() {
        Some(GuardedError::Manager(inner)) => Some(inner),
        Some(GuardedError::TimedOut) => return Reason::Timeout,
        None => error.downcast_ref(),
    };
    let boxed = error.downcast_ref::<Box<dyn Error + Send + Sync>>();
    inner
        .or_else(|| boxed.and_then(|error| error.downcast_ref()))
        .and_then(reason_of_io)
        .unwrap_or(Reason::Failed)
}

impl<M: ManageConnection> fmt::Debug for PoolCheck<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCheck")
            .field("settings", &self.engine.settings)
            .finish_non_exhaustive()
    }
}
