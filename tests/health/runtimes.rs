//! Runs and runtimes: one that ends, one that is not driven, one without a timer, and none.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::Notify,
    task::yield_now,
    time::{sleep, timeout},
};
use tower_health::{Dependency, Health, Outcome, Reason, Status};

use super::fixtures::{MS, becomes, runtime, undriven, up};
use crate::{
    helpers::gate::Gate,
    support::{MAXIMUM_WAIT, wait_until},
};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A caller on another runtime joins the run and is woken when the runtime of the run ends.
#[test]
fn a_runtime_that_ends_is_not_a_failure() {
    let gate = Gate::new();
    let dependency = Dependency::new("a", gate.check()).cache_for(Duration::ZERO);
    let health = Health::builder()
        .add(dependency.timeout(60 * MAXIMUM_WAIT))
        .answer_within(60 * MAXIMUM_WAIT)
        .build();
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);

    let ends = runtime();
    ends.block_on(async {
        let _ = timeout(Duration::ZERO, health.report()).await;
        wait_until("the run starts", MAXIMUM_WAIT, async || gate.runs() == 2).await;
    });
    // Polled by hand, so that it waits before that runtime ends.
    let other = runtime();
    let _inside = other.enter();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut caller = pin!(health.report());
    let mut cx = Context::from_waker(&waker);
    assert!(caller.as_mut().poll(&mut cx).is_pending());
    assert!(!woken.0.load(Ordering::SeqCst));
    drop(ends);
    assert!(woken.0.load(Ordering::SeqCst), "the end wakes the caller");
    gate.pass.add_permits(1);
    let report = other.block_on(async { timeout(MAXIMUM_WAIT, caller).await });
    let entry = report.expect("joins another run").entries.remove(0);
    assert_eq!((entry.status, gate.runs()), (Status::Up, 3));
    assert_eq!((entry.consecutive_failures, entry.history().len()), (0, 2));
}

#[test]
fn outside_a_runtime_last_results_are_returned() {
    let gate = Gate::new();
    let dependency = Dependency::new("a", gate.check()).cache_for(Duration::ZERO);
    let health = Health::builder().add(dependency).build();
    let without_timer = Builder::new_current_thread().build().expect("a runtime");
    let report_outside = || {
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(health.report()).poll(&mut cx) {
            Poll::Ready(report) => report,
            Poll::Pending => unreachable!("no run can start"),
        }
    };
    let reports = || {
        let without = without_timer.block_on(health.report());
        [health.snapshot(), report_outside(), without]
    };
    for report in reports() {
        assert_eq!(report.status, Status::Unknown);
        assert_eq!(report.entries[0].reason, Some(Reason::Pending));
    }
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    for report in reports() {
        assert_eq!(report.status, Status::Up);
    }
    assert_eq!(gate.runs(), 1);
}

#[test]
fn a_run_whose_runtime_is_not_driven_is_superseded() {
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counter, late) = (runs.clone(), gate.clone());
    let check = move || {
        let is_first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        let late = late.clone();
        async move {
            if is_first {
                late.notified().await;
            }
            Ok(Outcome::up())
        }
    };
    let dependency = Dependency::new("a", check).timeout(50 * MS);
    let health = Health::builder().add(dependency).build();
    let left = undriven();
    left.block_on(async {
        let _ = timeout(Duration::ZERO, health.report()).await;
        while runs.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
    });
    runtime().block_on(becomes(&health, Status::Up));
    // The old run can end now; its result is ignored.
    gate.notify_one();
    left.block_on(async { sleep(20 * MS).await });
    let entry = health.snapshot().entries.remove(0);
    assert!(entry.history().iter().all(|run| run.status == Status::Up));
    assert_eq!(entry.history().len(), runs.load(Ordering::SeqCst) - 1);
}

#[test]
fn a_refresh_whose_runtime_is_not_driven_moves_on() {
    let health = Health::builder()
        .add(Dependency::new("a", up).timeout(50 * MS))
        .refresh_every(50 * MS)
        .build();
    let left = undriven();
    left.block_on(becomes(&health, Status::Up));
    // Overdue first; then the refresh runs on the runtime of its caller.
    runtime().block_on(async {
        becomes(&health, Status::Down).await;
        becomes(&health, Status::Up).await;
    });
    drop(left);
}

#[tokio::test]
async fn a_run_ends_with_the_last_handle() {
    let gate = Gate::new();
    let held = Arc::new(());
    let (alive, check) = (Arc::downgrade(&held), gate.check());
    let check = move || {
        let (held, run) = (held.clone(), check());
        async move {
            let _held = held;
            run.await
        }
    };
    let dependency = Dependency::new("a", check).timeout(Duration::MAX);
    let health = Health::builder().add(dependency).build();
    let _ = timeout(Duration::ZERO, health.report()).await;
    wait_until("the run starts", MAXIMUM_WAIT, async || gate.runs() == 1).await;
    drop(health);
    wait_until("run and check are dropped", MAXIMUM_WAIT, async || {
        alive.strong_count() == 0
    })
    .await;
}
