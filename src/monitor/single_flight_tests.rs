//! Waiters, wakers and runs past their deadline, without tasks.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::single_flight::{Joined, MAX_WAITERS, SingleFlight, Wait};

const SECOND: Duration = Duration::from_secs(1);

/// A task that exists only as a waker, and owns a place in the queue.
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
        joined => unreachable!("a run is active: {joined:?}"),
    }
}

#[test]
fn past_the_limit_callers_do_not_wait_until_one_leaves() {
    let flight = Arc::new(SingleFlight::new());
    let now = Instant::now();
    let Joined::Started(_run, _wait) = flight.join(now, SECOND, None, |_| true) else {
        unreachable!("no run is active")
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
    let Joined::Started(_run, _wait) = flight.join(Instant::now(), SECOND, None, |_| true) else {
        unreachable!("no run is active")
    };
    let task = || {
        Waker::from(Arc::new(Task {
            _place: Mutex::new(joined(&flight)),
        }))
    };
    let mut wait = joined(&flight);
    // Twice with another waker, each the only owner of its task.
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
        unreachable!("no run is active")
    };
    // Until then callers join it: 500 ms past its deadline, or 100 ms if it blocks.
    let joins = |after| {
        let now = start + Duration::from_millis(after);
        matches!(flight.join(now, SECOND, None, |_| true), Joined::Waiting(_))
    };
    assert!(joins(1_500));
    let late = start + 2 * SECOND;
    let inside = first.poll_mark().set();
    assert!(joins(1_100));
    assert!(
        matches!(flight.join(late, SECOND, None, |_| true), Joined::Overrun(run) if run.is_stuck(late))
    );
    drop(inside);
    let Joined::Started(second, _) = flight.join(late, SECOND, None, |_| true) else {
        unreachable!("the first run is abandoned")
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
