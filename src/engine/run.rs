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
    cell::Cell,
    flight::Run,
    verdict::{Span, Verdict},
};
use crate::{
    check::CheckResult,
    report::{Failure, Reason},
};

/// Starts a run of `cell`'s check that belongs to nobody.
pub(super) fn detach(cell: Arc<Cell>, run: Run<Verdict>, started: Instant) {
    // Outside a runtime nothing can run, and that is no verdict either: it would be everybody's.
    if let Ok(runtime) = Handle::try_current() {
        let run = UnderWay { cell, run, started };
        runtime.spawn(drive(runtime.clone(), run));
    }
}

async fn drive(runtime: Handle, run: UnderWay) {
    let dependency = &run.cell.dependency;
    let check = dependency.check.clone();
    let timeout = dependency.settings.timeout;
    // In a task of its own from its first line: the part before the future may panic, too.
    let mut task = runtime.spawn(async move { check.check_boxed().await });
    match timeout_at(run.started + timeout, &mut task).await {
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

struct UnderWay {
    cell: Arc<Cell>,
    run: Run<Verdict>,
    started: Instant,
}

impl UnderWay {
    fn speak(&self, result: CheckResult) {
        let span = Span {
            started: self.started,
            ended: Instant::now(),
        };
        let settings = &self.cell.dependency.settings;
        let cause = result.as_ref().err().and_then(Failure::cause_for_the_log);
        let published = self
            .run
            .publish(|last| Verdict::after(last, result, span, settings, random_share()));
        self.cell.published(&published, cause.as_deref());
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
