//! Runs and runtimes: one that ends, one that is not driven, one that a run blocks, one without a timer, and none.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::Notify,
    task::yield_now,
    time::{sleep, timeout},
};
use tower_health::{Dependency, Health, Outcome, Reason, Status};

use super::{
    fixtures::{MS, becomes, health, known, published, runtime, undriven, up},
    reports::assert_documented,
};
use crate::{
    helpers::gate::Gate,
    support::{MAXIMUM_WAIT, wait_until},
};

/// A caller on another runtime joins the run and is woken when the runtime of the run ends.
#[test]
fn a_runtime_that_ends_is_not_a_failure() {
    let gate = Gate::new();
    let dependency = Dependency::new("a", gate.check()).cache_for(Duration::ZERO);
    let health = Health::builder()
        .add(dependency.timeout(60 * MAXIMUM_WAIT))
        .answer_within(60 * MAXIMUM_WAIT)
        .build();
    let (ends, other) = (runtime(), undriven());
    ends.block_on(async {
        let _ = timeout(Duration::ZERO, health.report()).await;
        wait_until("the run starts", MAXIMUM_WAIT, async || gate.runs() == 1).await;
    });
    let caller = other.spawn(async move { health.report().await });
    // The task is polled once: it waits before that runtime ends, and is polled again only if it is woken.
    other.block_on(yield_now());
    drop(ends);
    gate.pass.add_permits(1);
    let report = other.block_on(async { timeout(MAXIMUM_WAIT, caller).await });
    let report = report.expect("joins another run").expect("no panic");
    let entry = &report.entries[0];
    assert_eq!((entry.status, gate.runs()), (Status::Up, 2));
    assert_eq!((entry.consecutive_failures, entry.history().len()), (0, 1));
}

#[test]
fn outside_a_runtime_last_results_are_returned() {
    let gate = Gate::new();
    let health = health(Dependency::new("a", gate.check()).cache_for(Duration::ZERO));
    let without_timer = Builder::new_current_thread().build().expect("a runtime");
    let assert_reports = |status: Status, reason: Option<Reason>| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(outside) = pin!(health.report()).poll(&mut cx) else {
            unreachable!("no run can start")
        };
        let without = without_timer.block_on(health.report());
        for report in [health.snapshot(), outside, without] {
            assert_eq!((report.status, report.entries[0].reason), (status, reason));
        }
    };
    assert_reports(Status::Unknown, Some(Reason::Pending));
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    assert_reports(Status::Up, None);
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
    let health = health(Dependency::new("a", check).timeout(50 * MS));
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
    let entry = known(&health);
    assert!(entry.history().iter().all(|run| run.status == Status::Up));
    assert_eq!(entry.history().len(), runs.load(Ordering::SeqCst) - 1);
}

/// A run that blocks its thread cannot be cancelled. Report, transitions and metrics show the same.
#[test]
fn a_stuck_run_is_down_after_the_threshold_and_runs_alone() {
    const THRESHOLD: u32 = 3;
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let check = move || {
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            // Ends with the sender.
            let _ = gate.lock().expect("no panic").recv();
        }
        up()
    };
    let dependency = Dependency::new("a", check).timeout(50 * MS);
    let health = health(dependency.cache_for(50 * MS).failure_threshold(THRESHOLD));
    let blocked = health.clone();
    let driver = thread::spawn(move || undriven().block_on(blocked.report()));
    while runs.load(Ordering::SeqCst) == 0 {
        thread::sleep(MS);
    }
    #[cfg(feature = "metrics")]
    let (recorder, series) = super::metrics::recorder();
    #[cfg(feature = "metrics")]
    let _guard = metrics::set_default_local_recorder(&recorder);
    // On this thread, which the recorder is set for.
    undriven().block_on(async {
        let mut transitions = health.subscribe();
        let (mut last, mut entry) = (Status::Unknown, known(&health));
        wait_until("the run is stuck", MAXIMUM_WAIT, async || {
            entry = health.report().await.entries.remove(0);
            assert_documented(&entry);
            let is_early = entry.consecutive_failures < THRESHOLD;
            assert!(entry.status != Status::Down || !is_early, "{entry:?}");
            while let Some(transition) = published(&mut transitions).await {
                last = transition.to;
            }
            assert_eq!(entry.status, last);
            entry.reason == Some(Reason::Stuck)
        })
        .await;
        assert!(entry.pending_for >= Some(150 * MS), "{entry:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 1, "no second run is started");
        #[cfg(feature = "metrics")]
        assert_eq!(series.value(r#"health_check_status{check="a"}"#), Some(0.0));
        drop(release);
        becomes(&health, Status::Up).await;
        let next = timeout(MAXIMUM_WAIT, transitions.recv()).await;
        let next = next.expect("in time").expect("a handle lives");
        assert_eq!((next.from, next.to), (Status::Down, Status::Up));
    });
    driver.join().expect("no panic");
}
