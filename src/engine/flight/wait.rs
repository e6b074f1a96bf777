use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::join::Flight;

/// Resolves with the last value once the run that was joined has spoken or is gone.
///
/// Dropping it gives up the place and disturbs nobody.
#[derive(Debug)]
pub(crate) struct Wait<T> {
    pub(super) flight: Arc<Flight<T>>,
    pub(super) generation: u64,
    /// Where its waker is, once it was polled.
    pub(super) place: Option<usize>,
}

impl<T> Future for Wait<T> {
    type Output = Option<Arc<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.flight.lock();
        if state.generation != this.generation {
            return Poll::Ready(state.last.clone());
        }
        match this.place {
            Some(place) => {
                let kept = &mut state.waiters[place];
                if kept
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    return Poll::Pending;
                }
                let outdated = kept.replace(cx.waker().clone());
                // The lock first: the last trace of a task may hold another place in this queue.
                drop(state);
                drop(outdated);
            }
            None => {
                this.place = Some(state.waiters.len());
                state.waiters.push(Some(cx.waker().clone()));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut state = self.flight.lock();
        if state.generation != self.generation {
            return;
        }
        let given_up = state.waiters[place].take();
        // The rear is freed so that impatient askers cannot fill the queue during one long run.
        while state.waiters.last().is_some_and(Option::is_none) {
            state.waiters.pop();
        }
        // As above.
        drop(state);
        drop(given_up);
    }
}

#[cfg(all(test, not(tower_health_loom)))]
mod tests {
    use std::{
        pin::pin,
        sync::{Arc, Mutex},
        task::{Wake, Waker},
    };

    use tokio::time::Instant;

    use super::{Context, Future, Wait};
    use crate::engine::flight::{Flight, Joined, join::MAX_WAITERS};

    /// A task of which nothing but its waker is left, and a place in the queue with it.
    struct Task {
        _place: Mutex<Wait<u8>>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn joined(flight: &Arc<Flight<u8>>) -> Wait<u8> {
        match flight.join(Instant::now(), |_| true) {
            Joined::Waiting(mut wait, _) => {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(pin!(&mut wait).poll(&mut cx).is_pending());
                wait
            }
            joined => unreachable!("a run is under way: {joined:?}"),
        }
    }

    #[test]
    fn past_the_limit_nobody_waits_and_who_gives_up_makes_room() {
        let flight = Arc::new(Flight::new());
        let Joined::Started(_run, _wait) = flight.join(Instant::now(), |_| true) else {
            unreachable!("nobody runs")
        };
        let is_full = || matches!(flight.join(Instant::now(), |_| true), Joined::Full(..));
        let mut waits: Vec<_> = (0..MAX_WAITERS).map(|_| joined(&flight)).collect();
        assert!(is_full());
        waits.pop();
        assert!(!is_full());
        waits.push(joined(&flight));
        assert!(is_full());
    }

    /// Hangs if a waker is dropped under the lock.
    #[test]
    fn a_waker_may_take_another_place_along() {
        let flight = Arc::new(Flight::new());
        let Joined::Started(_run, _wait) = flight.join(Instant::now(), |_| true) else {
            unreachable!("nobody runs")
        };
        let task = || {
            Waker::from(Arc::new(Task {
                _place: Mutex::new(joined(&flight)),
            }))
        };
        let mut wait = joined(&flight);
        // Twice with another waker, each time the only trace of its task.
        for waker in [task(), task()] {
            assert!(
                pin!(&mut wait)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        drop(wait);
    }
}
