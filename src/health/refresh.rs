//! Runs in the background, so that no asker waits.

use std::{
    sync::{Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::handle::Shared;
use crate::engine::run::random_share;

/// The background refresh of one handle. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) period: Duration,
    task: Mutex<Option<AbortHandle>>,
}

impl Refresh {
    pub(super) fn new(period: Duration) -> Self {
        Self {
            period,
            task: Mutex::new(None),
        }
    }

    /// Starts the task, if this is within a runtime and there is none that lives.
    ///
    /// Called by each asker: a handle built before its runtime, or that outlives one,
    /// is refreshed from the first asking on.
    pub(super) fn keep_going(&self, shared: Weak<Shared>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            *task = Some(runtime.spawn(refresh(shared, self.period)).abort_handle());
        }
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

async fn refresh(shared: Weak<Shared>, period: Duration) {
    // A random first phase, or all replicas of a deploy would beat in step.
    sleep(period.mul_f64(random_share())).await;
    loop {
        // Not held while asleep: the task must not keep alive what ends it.
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let now = Instant::now();
        for cell in shared.members.now().iter() {
            cell.refresh(now);
        }
        drop(shared);
        sleep(period + period.mul_f64(0.1 * random_share())).await;
    }
}
