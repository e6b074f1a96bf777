//! What a check is: [`Check`], its [`Outcome`], and closures as checks.

use std::{borrow::Cow, fmt, future::Future, pin::Pin};

use tokio::time::Instant;

use crate::report::{Failure, Observations, ObservedValue, PoolStats, Reason, Status};

/// What one run of a check finds: up or degraded, or a failure.
pub type CheckResult = Result<Outcome, Failure>;

/// Reports whether something works.
///
/// A check runs detached from whoever asks for the verdict. At its dependency's
/// timeout (default 800 ms) its future is dropped, so it must be cancel-safe;
/// a panic, in the part before the future, too, counts as
/// [`Reason::Panicked`] of this dependency alone.
///
/// Closures that return a future are checks:
///
/// ```
/// use tower_health::{Check, Failure, Outcome, Reason};
///
/// fn queue_check(depth: impl Fn() -> u64 + Send + Sync + 'static) -> impl Check {
///     move || {
///         let depth = depth();
///         async move {
///             match depth {
///                 0..1_000 => Ok(Outcome::up().observe("depth", depth)),
///                 1_000..10_000 => Ok(Outcome::degraded(Reason::Busy).observe("depth", depth)),
///                 _ => Err(Failure::new(Reason::Busy).message(format!("{depth} jobs wait"))),
///             }
///         }
///     }
/// }
/// ```
pub trait Check: Send + Sync + 'static {
    /// Looks once.
    fn check(&self) -> impl Future<Output = CheckResult> + Send;

    /// Runs once and should end before `deadline`, the end of the dependency's timeout.
    ///
    /// At `deadline` the future is dropped and the run is down with [`Reason::Timeout`]. A check that
    /// can tell the true cause of a hang ends shortly before. Default: calls [`check`](Self::check).
    fn check_until(&self, deadline: Instant) -> impl Future<Output = CheckResult> + Send {
        let _ = deadline;
        self.check()
    }

    /// The word for what is checked, as in `postgres` or `redis`. Default: none.
    fn kind(&self) -> Option<&'static str> {
        None
    }

    /// Host and port, or another place, of what is checked. Default: none.
    ///
    /// Read once, when the dependency is created. Callers with details see it; known forms of credentials
    /// in it are masked.
    fn target(&self) -> Option<String> {
        None
    }
}

impl<F, Fut> Check for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = CheckResult> + Send,
{
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self()
    }
}

/// A check whose answer lies in this process, as a worker's heartbeat does.
///
/// Only such a check may take part in liveness: a liveness probe that fails gets
/// the process restarted, and a restart mends no database. The trait is sealed;
/// the crate's own process-local checks implement it.
pub trait InProcessCheck: Check + sealed::Local {}

pub(crate) mod sealed {
    /// Keeps a check behind a network from calling itself local.
    // Unnameable on purpose: that is what seals.
    #[allow(unnameable_types)]
    pub trait Local {}
}

/// What a check found when its dependency works, fully or in part.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(crate) status: Status,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<Cow<'static, str>>,
    pub(crate) observations: Observations,
}

impl Outcome {
    /// It works.
    pub fn up() -> Self {
        Self {
            status: Status::Up,
            reason: None,
            message: None,
            observations: Observations::default(),
        }
    }

    /// It works, but somebody should look, for `reason`. Probes still answer 200.
    pub fn degraded(reason: Reason) -> Self {
        Self {
            status: Status::Degraded,
            reason: Some(reason),
            ..Self::up()
        }
    }

    /// Adds a sentence for those allowed details. It must hold no credentials; over 256 bytes are cut.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(crate::report::bounded(message.into()));
        self
    }

    /// Adds a value that the check saw. At most 16 are kept.
    #[must_use]
    pub fn observe(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<ObservedValue>,
    ) -> Self {
        self.observations.push(name.into(), value.into());
        self
    }

    /// Adds the pool's numbers.
    #[must_use]
    pub fn pool(mut self, pool: PoolStats) -> Self {
        self.observations.pool = Some(pool);
        self
    }

    /// Up or degraded.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why it is degraded.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

/// The object-safe twin of [`Check`]: how a dependency holds any check.
pub(crate) trait DynCheck: Send + Sync + 'static {
    fn check_until_boxed(
        &self,
        deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = CheckResult> + Send + '_>>;
}

impl<C: Check> DynCheck for C {
    fn check_until_boxed(
        &self,
        deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = CheckResult> + Send + '_>> {
        Box::pin(self.check_until(deadline))
    }
}

impl fmt::Debug for dyn DynCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}
