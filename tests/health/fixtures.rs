//! Handles, checks, runtimes and waits that the tests of the handle share.

use std::{
    future::{Future, Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::{advance, sleep, timeout},
};
use tower_health::{
    Check, CheckResult, Dependency, Failure, Health, Outcome, Probe, Reason, Status,
    health::{Transition, Transitions},
    report::ReportEntry,
};

use crate::support::{MAXIMUM_WAIT, wait_until};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// A handle of this dependency alone.
pub fn health(dependency: Dependency) -> Health {
    Health::builder().add(dependency).build()
}

/// A handle of this check alone, with default settings.
pub fn checked(check: impl Check) -> Health {
    health(Dependency::new("a", check))
}

/// What the handle knows about its first dependency.
pub fn known(health: &Health) -> ReportEntry {
    health.snapshot().entries.remove(0)
}

/// A check that is up.
pub fn up() -> Ready<CheckResult> {
    ready(Ok(Outcome::up()))
}

/// A check that is down.
pub fn refused() -> Ready<CheckResult> {
    let failure = Failure::new(Reason::Refused);
    ready(Err(failure.message("connection refused")))
}

/// A check that is up after `duration`.
pub fn slow(duration: Duration) -> impl Check {
    delayed(duration, up)
}

/// The same check, with its result `duration` later.
pub fn delayed<F: Future<Output = CheckResult> + Send>(
    duration: Duration,
    check: impl Fn() -> F + Send + Sync + 'static,
) -> impl Check {
    move || {
        let run = check();
        async move {
            sleep(duration).await;
            run.await
        }
    }
}

pub type Run = fn() -> Ready<CheckResult>;

/// A check with the result that the test sets; up at first.
pub struct Scripted(Arc<Mutex<Run>>);

impl Scripted {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(up)))
    }

    pub fn set(&self, result: Run) {
        *self.0.lock().expect("no panic under it") = result;
    }

    pub fn check(&self) -> impl Fn() -> Ready<CheckResult> + use<> {
        let result = self.0.clone();
        move || result.lock().expect("no panic under it")()
    }
}

/// The status for `probe` now, from runs that are not expired.
pub async fn status(health: &Health, probe: Probe) -> Status {
    health.report_for(&probe).await.status
}

/// The same on a paused clock, once all results have expired.
pub async fn next_status(health: &Health, probe: Probe) -> Status {
    advance(2 * SECOND).await;
    status(health, probe).await
}

/// Waits until the overall status is `status`; callers start runs meanwhile.
pub async fn becomes(health: &Health, status: Status) {
    wait_until(&format!("the app is {status}"), MAXIMUM_WAIT, async || {
        health.report().await.status == status
    })
    .await;
}

/// The next transition that was published already.
pub async fn published(transitions: &mut Transitions) -> Option<Transition> {
    timeout(Duration::ZERO, transitions.recv()).await.ok()?
}

/// A runtime with threads that drive it.
pub fn runtime() -> Runtime {
    let builder = &mut Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("a runtime")
}

/// A runtime that only `block_on` drives.
pub fn undriven() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}
