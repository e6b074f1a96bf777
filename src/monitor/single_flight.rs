//! Single flight: at most one run at a time. Every caller that comes meanwhile gets its result.
//!
//! It knows neither tasks nor the clock: time is an argument, so that loom can try every interleaving. A
//! [`RunPermit`] is the right to run. Its drop ends the run and wakes the waiters, also after a panic, an abort
//! or a shutdown of the runtime: no waiter is lost.
//!
//! A run past its deadline is in one of two states, distinguished by whether it is inside a poll:
//! 1. It is: it blocks its thread and cannot be cancelled. It keeps its place ([`Joined::Overrun`]).
//! 2. It is not, and its runtime may no longer be driven. A caller on another runtime starts a run in its
//!    place, and the late result of the old run is ignored. A caller on the same runtime shows that it is driven.

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
// Loom's lock if it checks the interleavings.
#[cfg(not(tower_health_loom))]
use std::sync::{Mutex, MutexGuard};

#[cfg(tower_health_loom)]
use loom::sync::{Mutex, MutexGuard};
use tokio::{runtime::Id, time::Instant};

/// Past this many waiters for one run, a caller gets the last value at once.
pub(super) const MAX_WAITERS: usize = 131_072;
/// How long after its deadline a run inside a poll may take to end before it is called stuck.
const STUCK_AFTER: Duration = Duration::from_millis(100);
/// How long after its deadline a run outside a poll keeps its place. A runtime that is merely busy
/// ends it within this time.
const ABANDONED_AFTER: Duration = Duration::from_millis(500);

/// Produces values of `T`, one at a time.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    state: Mutex<FlightState<T>>,
}

#[derive(Debug)]
struct FlightState<T> {
    last: Option<Arc<T>>,
    active: Option<ActiveRun>,
    /// How many runs have started.
    runs: u64,
    /// Counts what waiters wait for: values, and ends of runs.
    generation: u64,
    /// The wakers of this generation's waiters; `None` after a waiter was dropped.
    waiters: Vec<Option<Waker>>,
}

/// The active run.
#[derive(Clone, Debug)]
pub(crate) struct ActiveRun {
    number: u64,
    pub(crate) since: Instant,
    deadline: Instant,
    runtime: Option<Id>,
    /// Whether its value is published. Its permit still exists.
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
// Always of std, not of loom: the lock does not protect it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PollMark(Arc<AtomicBool>);

impl PollMark {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sets the mark until the returned guard is dropped.
    pub(super) fn set(&self) -> impl Drop + use<> {
        self.0.store(true, Ordering::SeqCst);
        PollGuard(self.clone())
    }
}

struct PollGuard(PollMark);

impl Drop for PollGuard {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::SeqCst);
    }
}

/// The result of [`SingleFlight::join`].
#[derive(Debug)]
pub(crate) enum Joined<T> {
    /// The last value is good.
    Last,
    /// No run was active: the caller must run, and may wait like the others.
    Started(RunPermit<T>, Wait<T>),
    /// A run is active.
    Waiting(Wait<T>),
    /// The active run has published its value, or blocks past its deadline.
    Overrun(ActiveRun),
    /// A run is active, and too many callers wait for it.
    Full,
}

impl<T> SingleFlight<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(FlightState {
                last: None,
                active: None,
                runs: 0,
                generation: 0,
                waiters: Vec::new(),
            }),
        }
    }

    /// Joins the active run or starts one, unless the last value is `good`.
    ///
    /// A run that is started has `timeout` and belongs to the runtime `here`.
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
        // Waiters of an abandoned run stay, and wait for the new run from now on.
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

    /// The last value, however old, and the active run.
    pub(crate) fn peek(&self) -> (Option<Arc<T>>, Option<ActiveRun>) {
        let state = self.lock();
        (state.last.clone(), state.active.clone())
    }

    /// Replaces the last value outside a run and wakes the waiters, unless `value` returns `None`.
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

    /// Ignores poison: only constructors of `T` can panic under the lock, before anything is written.
    fn lock(&self) -> MutexGuard<'_, FlightState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> FlightState<T> {
    /// Returns the waiters, to be woken once the lock is released.
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

/// The right to run. Each flight has at most one whose value counts.
#[derive(Debug)]
pub(crate) struct RunPermit<T> {
    flight: Arc<SingleFlight<T>>,
    active: ActiveRun,
}

/// The value before and the value now.
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

    /// Publishes the run's value, made from the last one, and wakes the waiters.
    ///
    /// Returns `None` if another run is active instead. The run stays active until its permit is dropped.
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

/// Resolves once the joined run has published or ended.
///
/// Its drop frees a place in the queue and changes nothing else.
#[derive(Debug)]
pub(crate) struct Wait<T> {
    flight: Arc<SingleFlight<T>>,
    generation: u64,
    /// The index of its waker, once it was polled.
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
                let waiter = &mut state.waiters[place];
                if waiter
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    return Poll::Pending;
                }
                let outdated = waiter.replace(cx.waker().clone());
                // The lock first: a waker may own another `Wait` of this queue.
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
        let waker = state.waiters[place].take();
        // The end is freed so that callers that give up cannot fill the queue during one long run.
        while state.waiters.last().is_some_and(Option::is_none) {
            state.waiters.pop();
        }
        // The lock first, as above.
        drop(state);
        drop(waker);
    }
}
