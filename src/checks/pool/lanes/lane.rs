//! One lane: the step of a task, and whether the task's runtime is still driven.

use std::{future::Future, mem, pin::pin, sync::Mutex, time::Duration};

use tokio::{
    runtime::{Handle, Id},
    time::{Instant, timeout},
};

use super::shared::{SharedState, lock};

/// How often a task shows that its runtime is driven.
const PULSE: Duration = Duration::from_millis(100);
/// After this long without a pulse a task on another runtime no longer counts.
const STOPPED: Duration = Duration::from_secs(1);

/// A task with one connection, and the step `S` that it has reached.
pub(crate) struct Lane<S> {
    pub(crate) started: Instant,
    runtime: Id,
    last_pulse: Mutex<Instant>,
    step: Mutex<S>,
}

impl<S> Lane<S> {
    /// A lane whose task will run on the current runtime.
    pub(super) fn new(step: S) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            runtime: Handle::current().id(),
            last_pulse: Mutex::new(now),
            step: Mutex::new(step),
        }
    }

    /// Calls `read` with the present step.
    pub(crate) fn with_step<T>(&self, read: impl FnOnce(&mut S) -> T) -> T {
        read(&mut lock(&self.step))
    }

    /// Moves to `step` and wakes the runs.
    pub(super) fn set_step(&self, shared: &SharedState, step: S) {
        let before = mem::replace(&mut *lock(&self.step), step);
        drop(before);
        shared.notify();
    }

    /// Awaits `work`, and shows meanwhile that the runtime is driven.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(output) = timeout(PULSE, work.as_mut()).await {
                return output;
            }
            *lock(&self.last_pulse) = Instant::now();
        }
    }

    /// Whether a run on the current runtime may take the task's slot.
    ///
    /// A run on the task's own runtime shows that this runtime is driven.
    pub(super) fn has_stopped(&self) -> bool {
        Handle::current().id() != self.runtime && lock(&self.last_pulse).elapsed() >= STOPPED
    }
}
