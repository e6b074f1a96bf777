use std::{mem, sync::Arc, task::Waker};

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct State<T> {
    pub(super) last: Option<Arc<T>>,
    pub(super) phase: Phase,
    /// Counts ends and overruns of runs: a waiter waits for the count to move.
    pub(super) generation: u64,
    /// Wakers of this generation's waiters; a place that was given up is `None`.
    pub(super) waiters: Vec<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// Since then.
    Running(Instant),
    /// The run has spoken its last word but is not gone yet.
    Overrun,
}

impl<T> State<T> {
    pub(super) fn new() -> Self {
        Self {
            last: None,
            phase: Phase::Idle,
            generation: 0,
            waiters: Vec::new(),
        }
    }

    /// Moves to `phase` and hands out the waiters, to be woken once the lock is gone.
    pub(super) fn turn(&mut self, phase: Phase) -> Vec<Option<Waker>> {
        self.phase = phase;
        self.generation += 1;
        mem::take(&mut self.waiters)
    }
}

pub(super) fn wake(waiters: Vec<Option<Waker>>) {
    for waker in waiters.into_iter().flatten() {
        waker.wake();
    }
}
