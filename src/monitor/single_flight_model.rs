//! Every interleaving of a few callers, a run and a cancellation.
//!
//! Run with `RUSTFLAGS="--cfg tower_health_loom" cargo test --release --lib --no-default-features model`.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use tokio::time::Instant;

use super::single_flight::{Joined, SingleFlight};

const TIMEOUT: Duration = Duration::from_secs(3_600);

fn join(flight: &Arc<SingleFlight<usize>>, runs: &AtomicUsize, publishes: bool) -> Option<usize> {
    match flight.join(Instant::now(), TIMEOUT, None, |_| true) {
        Joined::Last | Joined::Overrun(_) => {}
        Joined::Started(run, wait) => {
            let number = runs.fetch_add(1, Ordering::SeqCst);
            if publishes {
                run.publish(|_| number);
            }
            drop(run);
            block_on(wait);
        }
        Joined::Waiting(wait) => block_on(wait),
        Joined::Full => unreachable!("few wait"),
    }
    flight.peek().0.map(|value| *value)
}

#[test]
fn three_callers_share_one_run() {
    let mut model = loom::model::Builder::new();
    // Every interleaving of three threads takes an hour; nearly all faults need two switches.
    model.preemption_bound = Some(2);
    model.check(|| {
        let flight = Arc::new(SingleFlight::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (flight, runs) = (flight.clone(), runs.clone());
                thread::spawn(move || assert_eq!(join(&flight, &runs, true), Some(0)))
            })
            .collect();
        assert_eq!(join(&flight, &runs, true), Some(0));
        for other in others {
            other.join().expect("does not panic");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_run_without_a_value_wakes_its_waiters() {
    loom::model(|| {
        let flight = Arc::new(SingleFlight::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let other = {
            let (flight, runs) = (flight.clone(), runs.clone());
            thread::spawn(move || join(&flight, &runs, false))
        };
        // Both return: a lost wake-up would be loom's deadlock.
        let _ = join(&flight, &runs, false);
        let _ = other.join().expect("does not panic");
    });
}

#[test]
fn a_dropped_wait_changes_nothing_else() {
    loom::model(|| {
        let now = Instant::now();
        let flight = Arc::new(SingleFlight::<usize>::new());
        let Joined::Started(run, wait) = flight.join(now, TIMEOUT, None, |_| true) else {
            unreachable!("no run is active")
        };
        let dropped = {
            let flight = flight.clone();
            thread::spawn(move || {
                if let Joined::Waiting(mut wait) = flight.join(now, TIMEOUT, None, |_| true) {
                    let mut cx = Context::from_waker(Waker::noop());
                    let _ = Pin::new(&mut wait).poll(&mut cx);
                    drop(wait);
                }
            })
        };
        let runner = thread::spawn(move || {
            run.publish(|_| 7);
        });
        block_on(wait);
        assert_eq!(flight.peek().0.as_deref(), Some(&7));
        dropped.join().expect("does not panic");
        runner.join().expect("does not panic");
        assert!(matches!(
            flight.join(now, TIMEOUT, None, |_| false),
            Joined::Started(..)
        ));
    });
}
