//! Every interleaving of a few askers, a run and a cancellation.
//!
//! Run with `RUSTFLAGS="--cfg tower_health_loom" cargo test --release --lib model`.

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
