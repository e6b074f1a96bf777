use std::sync::Arc;

use super::{
    join::Flight,
    state::{Phase, wake},
};

/// The right to run. There is one per flight at a time.
#[derive(Debug)]
pub(crate) struct Run<T> {
    pub(super) flight: Arc<Flight<T>>,
}

impl<T> Run<T> {
    /// Speaks the run's last word, made from the last value, and wakes the waiters.
    ///
    /// The run still holds its place until it is dropped.
    pub(crate) fn publish(&self, value: impl FnOnce(Option<&T>) -> T) -> Published<T> {
        let mut state = self.flight.lock();
        let previous = state.last.clone();
        let value = Arc::new(value(previous.as_deref()));
        state.last = Some(value.clone());
        // Running -> Overrun
        let waiters = state.turn(Phase::Overrun);
        drop(state);
        wake(waiters);
        Published { previous, value }
    }
}

/// What stood before and what stands now.
#[derive(Debug)]
pub(crate) struct Published<T> {
    pub(crate) previous: Option<Arc<T>>,
    pub(crate) value: Arc<T>,
}

impl<T> Drop for Run<T> {
    fn drop(&mut self) {
        // Running | Overrun -> Idle
        let waiters = self.flight.lock().turn(Phase::Idle);
        wake(waiters);
    }
}
