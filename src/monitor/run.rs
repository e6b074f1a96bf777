//! One detached run: its tasks, its deadline, and the panics of its check.
//!
//! A check that blocks its thread cannot be interrupted. So the check runs in one task, and another task keeps
//! the deadline. When the runtime shuts down, both are dropped, and with them the permit, which wakes the
//! waiters. Such a run has no result.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    panic::catch_unwind,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep, timeout_at},
};

use super::{
    result::{LastResult, Span},
    single_flight::{PollMark, Published, RunPermit},
};
use crate::{
    check::{CheckResult, DynCheck},
    dependency::RunSettings,
    report::{Failure, Reason},
};

/// The result of a check, and the cause of a failure for the log.
type RunOutput = (CheckResult, Option<String>);

/// Whether a run can start here: inside a Tokio runtime that has a timer.
pub(crate) fn is_possible() -> bool {
    /// The runtime that was found to have no timer. Its panic is printed once.
    static WITHOUT_TIMER: Mutex<Option<Id>> = Mutex::new(None);

    let Ok(runtime) = Handle::try_current() else {
        return false;
    };
    let without = || WITHOUT_TIMER.lock().unwrap_or_else(PoisonError::into_inner);
    if *without() == Some(runtime.id()) {
        return false;
    }
    // Tokio offers no other test.
    let has_timer = catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok();
    if !has_timer {
        *without() = Some(runtime.id());
    }
    has_timer
}

/// Starts a run of `check` on the current runtime.
///
/// `on_publish` receives the result, with the cause of a failure for the log.
pub(crate) fn detach(
    check: Arc<dyn DynCheck>,
    settings: RunSettings,
    permit: RunPermit<LastResult>,
    on_publish: impl Fn(&Published<LastResult>, Option<&str>) + Send + 'static,
) -> AbortHandle {
    let runtime = Handle::current();
    let deadline = permit.deadline();
    let future = Box::pin(async move {
        // Called inside the task: the part before the future may panic, too.
        let mut result = check.check_until_boxed(deadline).await;
        // The source is code of the app: it is displayed and dropped inside the run, under no lock.
        let cause = result.as_mut().err().and_then(Failure::take_cause);
        (result, cause)
    });
    let task = AbortOnDrop(runtime.spawn(CheckFuture {
        future: Some(future),
        mark: permit.poll_mark(),
    }));
    let run = DetachedRun {
        permit,
        settings,
        on_publish,
    };
    runtime.spawn(run.drive(task)).abort_handle()
}

struct DetachedRun<F> {
    permit: RunPermit<LastResult>,
    settings: RunSettings,
    on_publish: F,
}

impl<F: Fn(&Published<LastResult>, Option<&str>)> DetachedRun<F> {
    async fn drive(self, mut task: AbortOnDrop) {
        match timeout_at(self.permit.deadline(), &mut task.0).await {
            Ok(Ok((result, cause))) => self.publish(result, cause.as_deref()),
            Ok(Err(error)) if error.is_panic() => {
                let failure = Failure::new(Reason::Panicked).message("the check panicked");
                self.publish(Err(failure), None);
            }
            // Only a runtime that shuts down aborts the task.
            Ok(Err(_)) => {}
            Err(_) => {
                let timeout = self.settings.timeout.as_millis();
                let message = format!("no answer within {timeout} ms");
                self.publish(Err(Failure::new(Reason::Timeout).message(message)), None);
                task.0.abort();
                // Until the task has ended this run stays active: a second run would block a second thread.
                let _ = (&mut task.0).await;
            }
        }
    }

    fn publish(&self, result: CheckResult, cause: Option<&str>) {
        let span = Span {
            started: self.permit.started(),
            ended: Instant::now(),
        };
        let published = self
            .permit
            .publish(|last| LastResult::after(last, result, span, &self.settings, random_share()));
        if let Some(published) = published {
            (self.on_publish)(&published, cause);
        }
    }
}

struct AbortOnDrop(JoinHandle<RunOutput>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The future of a check. It sets the mark while its code executes, its drop included.
struct CheckFuture {
    future: Option<Pin<Box<dyn Future<Output = RunOutput> + Send>>>,
    mark: PollMark,
}

impl Future for CheckFuture {
    type Output = RunOutput;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RunOutput> {
        let _inside = self.mark.set();
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            // Only a drop takes it.
            None => Poll::Pending,
        }
    }
}

impl Drop for CheckFuture {
    fn drop(&mut self) {
        let _inside = self.mark.set();
        self.future = None;
    }
}

/// A random share in `0.0..1.0`.
pub(crate) fn random_share() -> f64 {
    // The keys differ for each process and each call: enough to spread replicas, without a dependency.
    let random = RandomState::new().build_hasher().finish();
    f64::from((random >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::random_share;

    #[test]
    fn random_shares_are_in_range_and_differ() {
        let shares: Vec<f64> = (0..100).map(|_| random_share()).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        assert!(shares.iter().any(|share| share != &shares[0]));
    }
}
