//! Single flight: at most one run at a time, and every caller that comes meanwhile gets its result.
//!
//! Knows neither tasks nor the clock: time is an argument, so that loom can try every interleaving. A
//! [`RunPermit`] is the right to run. Dropping it, in whatever way (panic, abort, a runtime that
//! shuts down), ends the run and wakes the waiters: no waiter is lost.
//!
//! A run past its deadline is in one of two states, distinguished by whether it is inside a poll:
//! 1. It is: it blocks its thread and cannot be cancelled. It keeps its place ([`Joined::Overrun`]).
//! 2. It is not, and its runtime may be driven no longer. A caller on another runtime starts a run in its
//!    place, and the late result of the old one is ignored. A caller on the same runtime shows that it is driven.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{runtime::Id, time::Instant};

use super::sync::{Mutex, MutexGuard};

/// Past this many waiters for one run, a caller gets the last value at once.
const MAX_WAITERS: usize = 131_072;
/// How long after its deadline a run inside a poll may take to end before it is called stuck.
const STUCK_AFTER: Duration = Duration::from_millis(100);
/// How long after its deadline a run outside a poll keeps its place. A runtime that is merely busy
/// ends it within this time.
const ABANDONED_AFTER: Duration = Duration::from_millis(500);

/// One place where values of `T` are made, one at a time.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    last: Option<Arc<T>>,
    active: Option<ActiveRun>,
    /// How many runs have started.
    runs: u64,
    /// Counts what waiters wait for: values, and ends of runs.
    generation: u64,
    /// Wakers of this generation's waiters; a place that was given up is `None`.
    waiters: Vec<Option<Waker>>,
}

/// The run that has the place.
#[derive(Clone, Debug)]
pub(crate) struct ActiveRun {
    number: u64,
    pub(crate) since: Instant,
    deadline: Instant,
    runtime: Option<Id>,
    /// Its value is there, and its permit is not gone yet.
    pub(crate) has_published: bool,
    polled: PollMark,
}

impl ActiveRun {
    /// Whether it blocks inside a poll past its deadline.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        now > self.deadline + STUCK_AFTER && self.polled.is_set()
    }

    fn is_abandoned(&self, now: Instant, here: Option<Id>) -> bool {
        let is_driven = here.is_some() && here == self.runtime;
        now > self.deadline + ABANDONED_AFTER && !is_driven && !self.polled.is_set()
    }
}

/// Whether a run's code executes at this moment.
// Of std in the model, too: it is no part of what the lock protects.
#[derive(Clone, Debug, Default)]
pub(crate) struct PollMark(Arc<AtomicBool>);

impl PollMark {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sets it until what is returned is dropped.
    pub(super) fn set(&self) -> impl Drop + use<> {
        self.0.store(true, Ordering::SeqCst);
        Marked(self.clone())
    }
}

struct Marked(PollMark);

impl Drop for Marked {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::SeqCst);
    }
}

/// What a caller gets that joins.
#[derive(Debug)]
pub(crate) enum Joined<T> {
    /// The last value is good.
    Last,
    /// There was no run: the caller must run, and may wait like the others.
    Started(RunPermit<T>, Wait<T>),
    /// There is a run.
    Waiting(Wait<T>),
    /// The run has published or blocks past its deadline, and keeps its place.
    Overrun(ActiveRun),
    /// There is a run, and too many wait for it.
    Full,
}

impl<T> SingleFlight<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                last: None,
                active: None,
                runs: 0,
                generation: 0,
                waiters: Vec::new(),
            }),
        }
    }

    /// Returns at once if the last value is `good`; else joins the run, or starts one that has `timeout`
    /// on the runtime `here`.
    pub(crate) fn join(
        self: &Arc<Self>,
        now: Instant,
        timeout: Duration,
        here: Option<Id>,
        good: impl FnOnce(&T) -> bool,
    ) -> Joined<T> {
        let mut state = self.lock();
        if state.last.as_ref().is_some_and(|last| good(last)) {
            return Joined::Last;
        }
        let wait = Wait {
            flight: self.clone(),
            generation: state.generation,
            place: None,
        };
        match &state.active {
            Some(active) if active.is_abandoned(now, here) => {}
            Some(active) if active.has_published || active.is_stuck(now) => {
                return Joined::Overrun(active.clone());
            }
            Some(_) if state.waiters.len() >= MAX_WAITERS => return Joined::Full,
            Some(_) => return Joined::Waiting(wait),
            None => {}
        }
        // Waiters of an abandoned run stay: they wait for this one from now on.
        state.runs += 1;
        let active = ActiveRun {
            number: state.runs,
            since: now,
            deadline: now + timeout,
            runtime: here,
            has_published: false,
            polled: PollMark::default(),
        };
        state.active = Some(active.clone());
        let flight = self.clone();
        Joined::Started(RunPermit { flight, active }, wait)
    }

    /// The last value, however old, and the run that has the place.
    pub(crate) fn peek(&self) -> (Option<Arc<T>>, Option<ActiveRun>) {
        let state = self.lock();
        (state.last.clone(), state.active.clone())
    }

    /// Replaces the last value outside a run, unless `value` makes none, and wakes the waiters.
    pub(crate) fn amend(
        &self,
        value: impl FnOnce(Option<&T>) -> Option<T>,
    ) -> Option<Published<T>> {
        let mut state = self.lock();
        let previous = state.last.clone();
        let value = Arc::new(value(previous.as_deref())?);
        state.last = Some(value.clone());
        let waiters = state.next_generation();
        drop(state);
        wake(waiters);
        Some(Published { previous, value })
    }

    /// A poisoned lock is taken over: no code that can panic runs under it but `T`'s constructors,
    /// which write nothing before they return.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Hands out the waiters, to be woken once the lock is gone.
    fn next_generation(&mut self) -> Vec<Option<Waker>> {
        self.generation += 1;
        mem::take(&mut self.waiters)
    }

    fn is_active(&self, number: u64) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.number == number)
    }
}

fn wake(waiters: Vec<Option<Waker>>) {
    for waker in waiters.into_iter().flatten() {
        waker.wake();
    }
}

/// The right to run. There is one per flight at a time that counts.
#[derive(Debug)]
pub(crate) struct RunPermit<T> {
    flight: Arc<SingleFlight<T>>,
    active: ActiveRun,
}

/// What was there before and what is there now.
#[derive(Debug)]
pub(crate) struct Published<T> {
    pub(crate) previous: Option<Arc<T>>,
    pub(crate) value: Arc<T>,
}

impl<T> RunPermit<T> {
    pub(crate) fn started(&self) -> Instant {
        self.active.since
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.active.deadline
    }

    pub(crate) fn poll_mark(&self) -> PollMark {
        self.active.polled.clone()
    }

    /// Publishes the run's value, made from the last one, and wakes the waiters. `None` if another
    /// run has taken the place.
    ///
    /// The run keeps its place until it is dropped.
    pub(crate) fn publish(&self, value: impl FnOnce(Option<&T>) -> T) -> Option<Published<T>> {
        let mut state = self.flight.lock();
        match &mut state.active {
            Some(active) if active.number == self.active.number => active.has_published = true,
            _ => return None,
        }
        let previous = state.last.clone();
        let value = Arc::new(value(previous.as_deref()));
        state.last = Some(value.clone());
        let waiters = state.next_generation();
        drop(state);
        wake(waiters);
        Some(Published { previous, value })
    }
}

impl<T> Drop for RunPermit<T> {
    fn drop(&mut self) {
        let mut state = self.flight.lock();
        if !state.is_active(self.active.number) {
            return;
        }
        state.active = None;
        let waiters = state.next_generation();
        drop(state);
        wake(waiters);
    }
}

/// Resolves once the run that was joined has published or is gone.
///
/// Dropping it gives up the place and changes nothing else.
#[derive(Debug)]
pub(crate) struct Wait<T> {
    flight: Arc<SingleFlight<T>>,
    generation: u64,
    /// Where its waker is, once it was polled.
    place: Option<usize>,
}

impl<T> Future for Wait<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.flight.lock();
        if state.generation != this.generation {
            return Poll::Ready(());
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
        // The rear is freed so that impatient callers cannot fill the queue during one long run.
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

    use super::{Context, Duration, Future, Instant, Joined, MAX_WAITERS, SingleFlight, Wait};

    const SECOND: Duration = Duration::from_secs(1);

    /// A task of which only its waker is left, and a place in the queue with it.
    struct Task {
        _place: Mutex<Wait<u8>>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn joined(flight: &Arc<SingleFlight<u8>>) -> Wait<u8> {
        match flight.join(Instant::now(), SECOND, None, |_| true) {
            Joined::Waiting(mut wait) => {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(pin!(&mut wait).poll(&mut cx).is_pending());
                wait
            }
            joined => unreachable!("there is a run: {joined:?}"),
        }
    }

    #[test]
    fn past_the_limit_callers_do_not_wait_until_one_gives_up() {
        let flight = Arc::new(SingleFlight::new());
        let now = Instant::now();
        let Joined::Started(_run, _wait) = flight.join(now, SECOND, None, |_| true) else {
            unreachable!("there is no run")
        };
        let is_full = || matches!(flight.join(now, SECOND, None, |_| true), Joined::Full);
        let mut waits: Vec<_> = (0..MAX_WAITERS).map(|_| joined(&flight)).collect();
        assert!(is_full());
        waits.pop();
        assert!(!is_full());
        waits.push(joined(&flight));
        assert!(is_full());
    }

    /// Hangs if a waker is dropped under the lock.
    #[test]
    fn a_waker_may_own_another_place_in_the_queue() {
        let flight = Arc::new(SingleFlight::new());
        let Joined::Started(_run, _wait) = flight.join(Instant::now(), SECOND, None, |_| true)
        else {
            unreachable!("there is no run")
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

    #[test]
    fn past_its_deadline_a_run_is_superseded_or_stuck() {
        let flight = Arc::new(SingleFlight::<u8>::new());
        let start = Instant::now();
        let Joined::Started(first, mut wait) = flight.join(start, SECOND, None, |_| true) else {
            unreachable!("there is no run")
        };
        let late = start + 2 * SECOND;
        let inside = first.poll_mark().set();
        assert!(
            matches!(flight.join(late, SECOND, None, |_| true), Joined::Overrun(run) if run.is_stuck(late))
        );
        drop(inside);
        let Joined::Started(second, _) = flight.join(late, SECOND, None, |_| true) else {
            unreachable!("the first one is abandoned")
        };
        // Its late value and its end change nothing.
        assert!(first.publish(|_| 1).is_none());
        drop(first);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(&mut wait).poll(&mut cx).is_pending());
        assert!(second.publish(|_| 2).is_some());
        assert!(pin!(&mut wait).poll(&mut cx).is_ready());
        assert_eq!(flight.peek().0.as_deref(), Some(&2));
    }
}
