//! Checks, runtimes and waits that the tests of the handle share.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::{advance, sleep, timeout},
};
use tower_health::{
    Check, CheckResult, Failure, Health, Outcome, Probe, Reason, Status,
    health::{Transition, Transitions},
};

use crate::support::{MAXIMUM_WAIT, wait_until};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

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
pub fn slow(duration: Duration) -> impl Check + Clone {
    move || async move {
        sleep(duration).await;
        Ok(Outcome::up())
    }
}

/// A check with the result that the test sets; up at first.
#[derive(Clone)]
pub struct Scripted(Arc<Mutex<fn() -> CheckResult>>);

impl Scripted {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(|| Ok(Outcome::up()))))
    }

    pub fn set(&self, result: fn() -> CheckResult) {
        *self.0.lock().expect("no panic under it") = result;
    }

    pub fn set_up(&self, is_up: bool) {
        self.set(if is_up {
            || Ok(Outcome::up())
        } else {
            || refused().into_inner()
        });
    }

    pub fn check(&self) -> impl Fn() -> Ready<CheckResult> + use<> {
        let result = self.0.clone();
        move || ready(result.lock().expect("no panic under it")())
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
