//! Single flight: at most one run under way, and everybody who asks meanwhile hears its end.
//!
//! Knows neither tasks nor the clock (a run's start is handed in), so that loom can try every interleaving. A
//! [`Run`] is the right to run: whoever holds it runs, and dropping it, in
//! whatever way (panic, abort, a runtime that shuts down), ends the run and
//! wakes the waiters. No waiter can be lost.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::sync::{Mutex, MutexGuard};

/// Past this many waiters for one run, an asker gets the last value at once.
pub(crate) const MAX_WAITERS: usize = 131_072;

/// One place where values of `T` are made, one at a time.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    last: Option<Arc<T>>,
    phase: Phase,
    /// Counts ends and overruns of runs: a waiter waits for the count to move.
    generation: u64,
    /// Wakers of this generation's waiters; a place that was given up is `None`.
    waiters: Vec<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Since then.
    Running(Instant),
    /// The run has spoken its last word but is not gone yet.
    Overrun,
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
            state: Mutex::new(State {
                last: None,
                phase: Phase::Idle,
                generation: 0,
                waiters: Vec::new(),
            }),
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
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Moves to `phase` and hands out the waiters, to be woken once the lock is gone.
    fn turn(&mut self, phase: Phase) -> Vec<Option<Waker>> {
        self.phase = phase;
        self.generation += 1;
        mem::take(&mut self.waiters)
    }
}

fn wake(waiters: Vec<Option<Waker>>) {
    for waker in waiters.into_iter().flatten() {
        waker.wake();
    }
}

/// The right to run. There is one per flight at a time.
#[derive(Debug)]
pub(crate) struct Run<T> {
    flight: Arc<Flight<T>>,
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

/// Resolves with the last value once the run that was joined has spoken or is gone.
///
/// Dropping it gives up the place and disturbs nobody.
#[derive(Debug)]
pub(crate) struct Wait<T> {
    flight: Arc<Flight<T>>,
    generation: u64,
    place: Option<usize>,
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
            Some(place) => match &mut state.waiters[place] {
                Some(waker) => waker.clone_from(cx.waker()),
                empty => *empty = Some(cx.waker().clone()),
            },
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
        state.waiters[place] = None;
        // The rear is freed so that impatient askers cannot fill the queue during one long run.
        while state.waiters.last().is_some_and(Option::is_none) {
            state.waiters.pop();
        }
    }
}

/// Every interleaving of a few askers, a run and a cancellation.
///
/// Run with `RUSTFLAGS="--cfg tower_health_loom" cargo test --release --lib model`.
#[cfg(all(test, tower_health_loom))]
mod model {
    use std::{
        future::Future,
        pin::Pin,
        sync::Arc,
        task::{Context, Waker},
    };

    use loom::{
        future::block_on,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };
    use tokio::time::Instant;

    use super::{Flight, Joined};

    fn ask(flight: &Arc<Flight<usize>>, runs: &AtomicUsize, publishes: bool) -> Option<usize> {
        let now = Instant::now();
        match flight.join(now, |_| true) {
            Joined::Ready(value) | Joined::Overrun(Some(value)) => Some(*value),
            Joined::Started(run, wait) => {
                let number = runs.fetch_add(1, Ordering::SeqCst);
                if publishes {
                    run.publish(|_| number);
                }
                drop(run);
                block_on(wait).map(|value| *value)
            }
            Joined::Waiting(wait, _) => block_on(wait).map(|value| *value),
            Joined::Overrun(None) | Joined::Full(..) => {
                unreachable!("published before, and few wait")
            }
        }
    }

    #[test]
    fn three_askers_make_one_run_and_all_are_answered() {
        let mut model = loom::model::Builder::new();
        // Every interleaving of three threads takes an hour; nearly all faults need two switches.
        model.preemption_bound = Some(2);
        model.check(|| {
            let flight = Arc::new(Flight::new());
            let runs = Arc::new(AtomicUsize::new(0));
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let (flight, runs) = (flight.clone(), runs.clone());
                    thread::spawn(move || assert_eq!(ask(&flight, &runs, true), Some(0)))
                })
                .collect();
            assert_eq!(ask(&flight, &runs, true), Some(0));
            for other in others {
                other.join().expect("does not panic");
            }
            assert_eq!(runs.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_run_that_is_lost_wakes_its_waiters() {
        loom::model(|| {
            let flight = Arc::new(Flight::new());
            let runs = Arc::new(AtomicUsize::new(0));
            let other = {
                let (flight, runs) = (flight.clone(), runs.clone());
                thread::spawn(move || ask(&flight, &runs, false))
            };
            // Both return: a lost wake-up would be loom's deadlock.
            let _ = ask(&flight, &runs, false);
            let _ = other.join().expect("does not panic");
        });
    }

    #[test]
    fn an_asker_that_gives_up_takes_nobody_along() {
        loom::model(|| {
            let now = Instant::now();
            let flight = Arc::new(Flight::<usize>::new());
            let Joined::Started(run, wait) = flight.join(now, |_| true) else {
                unreachable!("nobody runs")
            };
            let impatient = {
                let flight = flight.clone();
                thread::spawn(move || {
                    if let Joined::Waiting(mut wait, _) = flight.join(now, |_| true) {
                        let mut cx = Context::from_waker(Waker::noop());
                        let _ = Pin::new(&mut wait).poll(&mut cx);
                        drop(wait);
                    }
                })
            };
            let runner = thread::spawn(move || {
                run.publish(|_| 7);
            });
            assert_eq!(block_on(wait).map(|value| *value), Some(7));
            impatient.join().expect("does not panic");
            runner.join().expect("does not panic");
            assert!(matches!(flight.join(now, |_| false), Joined::Started(..)));
        });
    }
}
