//! One detached run: its own task, its deadline, safe against panics.
//!
//! Two tasks, since a check that blocks its thread cannot be interrupted: the
//! check runs in one, the deadline is kept by the other. When the runtime shuts
//! down both are dropped, and with them the right to run, which wakes the waiters. That says
//! nothing of the dependency: no verdict, and no alarm in the log of each deploy.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    flight::{Published, Run},
    verdict::{Span, Verdict},
};
use crate::{
    check::{CheckResult, DynCheck},
    dependency::{Dependency, Settings},
    report::{Failure, Reason},
};

/// Starts a run of `dependency`'s check that belongs to nobody. What it publishes `hears` hears, with
/// the cause of a failure for the log.
pub(crate) fn detach(
    dependency: &Dependency,
    run: Run<Verdict>,
    started: Instant,
    hears: impl Fn(&Published<Verdict>, Option<&str>) + Send + 'static,
) {
    // Outside a runtime nothing can run, and that is no verdict either: it would be everybody's.
    if let Ok(runtime) = Handle::try_current() {
        let check = dependency.check.clone();
        let run = UnderWay {
            run,
            started,
            settings: dependency.settings,
            hears,
        };
        runtime.spawn(drive(runtime.clone(), check, run));
    }
}

async fn drive<H>(runtime: Handle, check: Arc<dyn DynCheck>, run: UnderWay<H>)
where
    H: Fn(&Published<Verdict>, Option<&str>),
{
    let timeout = run.settings.timeout;
    let deadline = run.started + timeout;
    // In a task of its own from its first line: the part before the future may panic, too.
    let mut task = runtime.spawn(async move { check.check_until_boxed(deadline).await });
    match timeout_at(deadline, &mut task).await {
        Ok(Ok(result)) => run.speak(result),
        Ok(Err(error)) if error.is_panic() => {
            run.speak(Err(
                Failure::new(Reason::Panicked).message("the check panicked")
            ));
        }
        // Nobody aborts it but a runtime that shuts down.
        Ok(Err(_)) => {}
        Err(_) => {
            let message = format!("no answer within {} ms", timeout.as_millis());
            run.speak(Err(Failure::new(Reason::Timeout).message(message)));
            task.abort();
            // Until the task is gone this run keeps its place: a second one beside it
            // would block a second thread.
            let _ = task.await;
        }
    }
}

struct UnderWay<H> {
    run: Run<Verdict>,
    started: Instant,
    settings: Settings,
    hears: H,
}

impl<H: Fn(&Published<Verdict>, Option<&str>)> UnderWay<H> {
    fn speak(&self, result: CheckResult) {
        let span = Span {
            started: self.started,
            ended: Instant::now(),
        };
        let cause = result.as_ref().err().and_then(Failure::cause_for_the_log);
        let published = self
            .run
            .publish(|last| Verdict::after(last, result, span, &self.settings, random_share()));
        (self.hears)(&published, cause.as_deref());
    }
}

/// A random share in `0.0..1.0`.
pub(crate) fn random_share() -> f64 {
    // Keyed at random for each process and differently each time: enough to
    // spread a fleet, and no dependency on a generator.
    let random = RandomState::new().build_hasher().finish();
    f64::from((random >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::random_share;

    #[test]
    fn a_random_share_is_one_and_differs() {
        let shares: Vec<f64> = (0..100).map(|_| random_share()).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        assert!(shares.iter().any(|share| share != &shares[0]));
    }
}
