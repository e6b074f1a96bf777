//! [`Check`] and its [`Outcome`]; closures are checks, too.

use std::{borrow::Cow, fmt, future::Future, pin::Pin};

use tokio::time::Instant;

use crate::report::{Failure, Observations, ObservedValue, PoolStats, Reason, Status, bounded};

/// The result of one run of a check: up or degraded, or a failure.
pub type CheckResult = Result<Outcome, Failure>;

/// Checks whether a dependency works.
///
/// A run is detached from its callers: a caller that disconnects does not cancel it. At the timeout of the
/// [`Dependency`](crate::Dependency) (default 800 ms) the future is dropped, so it must be cancel-safe. A panic
/// is down with [`Reason::Panicked`] and affects no other dependency.
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
    /// Runs the check once.
    ///
    /// # Errors
    ///
    /// If the dependency is down.
    fn check(&self) -> impl Future<Output = CheckResult> + Send;

    /// Runs the check once, and should end before `deadline`. Default: calls [`check`](Self::check).
    ///
    /// At `deadline`, the end of the dependency's timeout, the future is dropped and the run is down with
    /// [`Reason::Timeout`]. A check that knows the cause of a hang should end shortly before.
    ///
    /// # Errors
    ///
    /// If the dependency is down.
    fn check_until(&self, deadline: Instant) -> impl Future<Output = CheckResult> + Send {
        let _ = deadline;
        self.check()
    }

    /// Returns the kind of the dependency, as in `postgres` or `redis`. Default: none.
    fn kind(&self) -> Option<&'static str> {
        None
    }

    /// Returns the host and port, or another address, of the dependency. Default: none.
    ///
    /// Called once, when the dependency is created. Callers with details see it. Known forms of credentials
    /// are masked.
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

/// A check that reads only the state of this process, as a worker's heartbeat does.
///
/// Only such a check may be part of liveness: a liveness probe that fails restarts the process, and a
/// restart does not repair a database. The trait is sealed. The checks [`Heartbeat`](crate::checks::Heartbeat),
/// [`RuntimeLag`](crate::checks::RuntimeLag) and [`Switch`](crate::checks::Switch) implement it.
pub trait InProcessCheck: Check + sealed::InProcess {}

pub(crate) mod sealed {
    /// Prevents other crates from implementing [`InProcessCheck`](super::InProcessCheck).
    // Unnameable outside this crate, which seals the trait.
    #[allow(unnameable_types)]
    pub trait InProcess {}
}

/// The outcome of a run whose dependency works, fully or in part.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(crate) status: Status,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<Cow<'static, str>>,
    pub(crate) observations: Observations,
}

impl Outcome {
    /// Creates an outcome with the status up.
    pub fn up() -> Self {
        Self {
            status: Status::Up,
            reason: None,
            message: None,
            observations: Observations::default(),
        }
    }

    /// Creates an outcome with the status degraded.
    ///
    /// The dependency works, but an operator should act on `reason`. Probes still answer 200.
    pub fn degraded(reason: Reason) -> Self {
        Self {
            status: Status::Degraded,
            reason: Some(reason),
            ..Self::up()
        }
    }

    /// Adds a message for callers with details. Default: none.
    ///
    /// It must not contain credentials. Text over 256 bytes is cut.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(bounded(message.into()));
        self
    }

    /// Adds a value that the check measured. At most 16 are kept.
    #[must_use]
    pub fn observe(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<ObservedValue>,
    ) -> Self {
        self.observations.push(name.into(), value.into());
        self
    }

    /// Adds the statistics of the pool. Default: none.
    #[must_use]
    pub fn pool(mut self, pool: PoolStats) -> Self {
        self.observations.pool = Some(pool);
        self
    }

    /// Returns up or degraded.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the reason of a degraded outcome.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

/// The object-safe version of [`Check`].
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
