//! A synchronous check on Tokio's blocking pool.

use std::{fmt, panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::{Instant, timeout_at},
};

use crate::{
    bounds::MAX_DURATION,
    check::{Check, CheckResult},
    report::{Failure, Reason},
};

/// A run stops waiting for the previous call this long before its deadline, to report `stuck`.
const MARGIN_TO_REPORT: Duration = Duration::from_millis(20);

/// Runs a synchronous check on Tokio's blocking pool, one call at a time.
///
/// A call cannot be cancelled: past the timeout of its [`Dependency`](crate::Dependency) the run is
/// down with reason `timeout`, and the call continues. The next run waits for that call. If the call does not
/// return within the timeout of that run, it is down with reason `stuck`. So a check blocks one thread at most.
///
/// ```
/// use tower_health::{Failure, Health, Outcome, Reason, checks};
///
/// let disk = checks::blocking(|| {
///     std::fs::metadata("/var/lib/app")?;
///     Ok(Outcome::up())
/// });
/// let health = Health::builder().check("disk", disk).build();
/// # drop(health);
/// ```
pub fn blocking(check: impl Fn() -> CheckResult + Send + Sync + 'static) -> Blocking {
    Blocking {
        check: Arc::new(check),
        permit: Arc::new(Semaphore::new(1)),
    }
}

/// The check that [`blocking`] returns.
#[derive(Clone)]
pub struct Blocking {
    check: Arc<dyn Fn() -> CheckResult + Send + Sync>,
    /// Held by the call that has not returned.
    permit: Arc<Semaphore>,
}

impl Check for Blocking {
    async fn check(&self) -> CheckResult {
        self.check_until(Instant::now() + MAX_DURATION).await
    }

    async fn check_until(&self, deadline: Instant) -> CheckResult {
        // Only the wait for the call before ends early: the call itself may take the rest of the timeout.
        let end = deadline.checked_sub(MARGIN_TO_REPORT).unwrap_or(deadline);
        let Ok(permit) = timeout_at(end, self.permit.clone().acquire_owned()).await else {
            return Err(Failure::new(Reason::Stuck).message("the previous call has not returned"));
        };
        let check = self.check.clone();
        let call = spawn_blocking(move || {
            let _permit = permit;
            check()
        });
        match call.await.map_err(JoinError::try_into_panic) {
            Ok(result) => result,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(Err(_)) => Err(Reason::Failed.into()),
        }
    }

    fn kind(&self) -> Option<&'static str> {
        Some("blocking")
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}
