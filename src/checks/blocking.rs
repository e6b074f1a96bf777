//! A synchronous check on the blocking pool.

use std::{fmt, panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{
    check::{Check, CheckResult},
    report::{Failure, Reason},
};

/// What is left of a run's time to say that the call before has not returned.
const LEFT_TO_SAY_SO: Duration = Duration::from_millis(20);

/// Runs a synchronous check on Tokio's blocking pool, one call at a time.
///
/// A call cannot be cancelled: past the timeout of its [`Dependency`](crate::Dependency) the run is
/// down, and the call goes on. The next run waits until it returns, and is down with reason `stuck` if that
/// takes longer than its own timeout: however many probes come, one thread is blocked.
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
        turn: Arc::new(Semaphore::new(1)),
    }
}

/// The check that [`blocking`] makes.
#[derive(Clone)]
pub struct Blocking {
    check: Arc<dyn Fn() -> CheckResult + Send + Sync>,
    /// Held by the call that has not returned.
    turn: Arc<Semaphore>,
}

impl Blocking {
    async fn call(&self, turn: OwnedSemaphorePermit) -> CheckResult {
        let check = self.check.clone();
        let call = spawn_blocking(move || {
            let _turn = turn;
            check()
        });
        match call.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime shuts down, and this task with it.
                Err(_) => Err(Reason::Failed.into()),
            },
        }
    }
}

impl Check for Blocking {
    async fn check(&self) -> CheckResult {
        // The semaphore is never closed.
        let turn = self.turn.clone().acquire_owned().await?;
        self.call(turn).await
    }

    async fn check_until(&self, deadline: Instant) -> CheckResult {
        // Only the wait for the call before ends early: a call of its own may take all the time there is.
        let end = deadline.checked_sub(LEFT_TO_SAY_SO).unwrap_or(deadline);
        match timeout_at(end, self.turn.clone().acquire_owned()).await {
            Ok(turn) => self.call(turn?).await,
            Err(_) => Err(Failure::new(Reason::Stuck).message("the call before has not returned")),
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
