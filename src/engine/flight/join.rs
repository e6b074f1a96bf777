use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use super::{
    run::Run,
    state::{Phase, State},
    wait::Wait,
};
use crate::engine::sync::{Mutex, MutexGuard};

/// Past this many waiters for one run, an asker gets the last value at once.
pub(super) const MAX_WAITERS: usize = 131_072;

/// One place where values of `T` are made, one at a time.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    state: Mutex<State<T>>,
}

/// What somebody gets who asks.
#[derive(Debug)]
pub(crate) enum Joined<T> {
    /// The last value will do.
    Ready(Arc<T>),
    /// Nobody was running: the asker must see to the run, and may wait like the others.
    Started(Run<T>, Wait<T>),
    /// Somebody has been running since then.
    Waiting(Wait<T>, Instant),
    /// A run is past its last word and does not go away; a second one is not started beside it.
    Overrun(Option<Arc<T>>),
    /// Somebody has been running since then, and too many wait.
    Full(Option<Arc<T>>, Instant),
}

impl<T> Flight<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
        }
    }

    /// Takes the last value if it is `good`, else joins the run, which is started where there is none.
    pub(crate) fn join(self: &Arc<Self>, now: Instant, good: impl FnOnce(&T) -> bool) -> Joined<T> {
        let mut state = self.lock();
        if let Some(last) = state.last.as_ref().filter(|last| good(last)) {
            return Joined::Ready(last.clone());
        }
        let wait = Wait {
            flight: self.clone(),
            generation: state.generation,
            place: None,
        };
        match state.phase {
            // Idle -> Running
            Phase::Idle => {
                state.phase = Phase::Running(now);
                let run = Run {
                    flight: self.clone(),
                };
                Joined::Started(run, wait)
            }
            Phase::Running(since) if state.waiters.len() >= MAX_WAITERS => {
                Joined::Full(state.last.clone(), since)
            }
            Phase::Running(since) => Joined::Waiting(wait, since),
            Phase::Overrun => Joined::Overrun(state.last.clone()),
        }
    }

    /// The last value, however old, and whether its run is past its last word without being gone.
    pub(crate) fn peek(&self) -> (Option<Arc<T>>, bool) {
        let state = self.lock();
        (state.last.clone(), state.phase == Phase::Overrun)
    }

    /// A poisoned lock is taken over: no code that can panic runs under it but `T`'s constructor
    /// in `Run::publish`, which writes nothing before it returns.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
