//! A run belongs to nobody who asked for it: every way to lose a caller or a run.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::helpers::gate::Gate;
use tokio::time::{advance, sleep, timeout};
use tower_health::{CheckResult, Dependency, Failure, Health, Outcome, Reason, Status};

const MS: Duration = Duration::from_millis(1);
/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(20);

fn health(gate: &Gate) -> Health {
    Health::builder().check("gate", gate.check()).build()
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_takes_nobody_along() {
    let gate = Gate::new();
    let health = health(&gate);
    let patient = tokio::spawn({
        let health = health.clone();
        async move { health.report().await }
    });
    assert!(timeout(10 * MS, health.report()).await.is_err());
    gate.pass.add_permits(1);
    assert_eq!(patient.await.expect("no panic").status, Status::Up);
    assert_eq!(gate.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_run_goes_on_when_every_caller_gives_up() {
    let gate = Gate::new();
    let health = health(&gate);
    for _ in 0..20 {
        assert!(timeout(5 * MS, health.report()).await.is_err());
    }
    gate.pass.add_permits(1);
    // The first asking after the run's end is answered from it.
    while health.snapshot().status != Status::Up {
        sleep(MS).await;
    }
    assert_eq!(health.report().await.status, Status::Up);
    assert_eq!(gate.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_check_alone() {
    fn in_the_sync_part() -> std::future::Ready<CheckResult> {
        panic!("before there is a future")
    }
    let health = Health::builder()
        .check("sync", in_the_sync_part)
        .check("async", async || -> CheckResult {
            panic!("inside the future")
        })
        .check("healthy", async || Ok(Outcome::up()))
        .build();
    for _ in 0..2 {
        let report = health.report().await;
        for name in ["sync", "async"] {
            let entry = report.entry(name).expect("registered");
            assert_eq!(entry.status, Status::Down);
            assert_eq!(entry.reason, Some(Reason::Panicked));
        }
        assert_eq!(
            report.entry("healthy").expect("registered").status,
            Status::Up
        );
        advance(2_000 * MS).await;
    }
    assert_eq!(
        health
            .report()
            .await
            .entry("sync")
            .expect("registered")
            .consecutive_failures,
        3
    );
}

#[tokio::test(start_paused = true)]
async fn waiters_of_a_run_that_panics_are_answered_when_it_does() {
    let health = Health::builder()
        .check("late", async || {
            sleep(50 * MS).await;
            panic!("late")
        })
        .build();
    let start = tokio::time::Instant::now();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let health = health.clone();
            tokio::spawn(async move { health.report().await })
        })
        .collect();
    for caller in callers {
        let report = caller.await.expect("no panic here");
        assert_eq!(report.entries[0].reason, Some(Reason::Panicked));
    }
    assert!(start.elapsed() < 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_outlives_its_deadline_is_down_and_cancelled() {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    let health = Health::builder()
        .check("silent", move || {
            let guard = OnDrop(flag.clone());
            async move {
                pending::<()>().await;
                drop(guard);
                Ok(Outcome::up())
            }
        })
        .build();
    let start = tokio::time::Instant::now();
    let report = health.report().await;
    assert_eq!(report.entries[0].status, Status::Down);
    assert_eq!(report.entries[0].reason, Some(Reason::Timeout));
    assert!((800 * MS..900 * MS).contains(&start.elapsed()));
    sleep(MS).await;
    assert!(cancelled.load(Ordering::SeqCst));
    // And the next one runs again.
    advance(2_000 * MS).await;
    assert_eq!(health.report().await.entries[0].consecutive_failures, 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_cannot_wait_learns_what_is_pending() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("slow", gate.check()).timeout(5_000 * MS))
        .answer_within(100 * MS)
        .build();
    let report = health.report().await;
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.entries[0].reason, Some(Reason::Pending));
    assert!(report.entries[0].pending_for >= Some(100 * MS));

    gate.pass.add_permits(1);
    while health.snapshot().status != Status::Up {
        sleep(MS).await;
    }
    // The next run is slow, too: the last verdict serves while it says something about now.
    advance(1_500 * MS).await;
    let report = health.report().await;
    assert_eq!(report.status, Status::Up);
    assert!(report.entries[0].pending_for.is_some());
    gate.pass.add_permits(1);
    sleep(10 * MS).await;
    advance(3_600_000 * MS).await;
    assert_eq!(health.report().await.status, Status::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_callers_half_of_whom_hang_up_make_one_run() {
    for outcome in ["up", "down", "panic", "hang"] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        // A panic takes its time where its backtrace is printed.
        let limit = if outcome == "hang" { 200 * MS } else { LIMIT };
        let health = Health::builder()
            .add(
                Dependency::new("storm", move || {
                    counter.fetch_add(1, Ordering::SeqCst);
                    async move {
                        sleep(50 * MS).await;
                        match outcome {
                            "up" => Ok(Outcome::up()),
                            "down" => Err(Failure::new(Reason::Refused)),
                            "panic" => panic!("in a storm"),
                            _ => pending().await,
                        }
                    }
                })
                .timeout(limit)
                .cache_for(Duration::from_secs(60)),
            )
            .answer_within(2 * LIMIT)
            .build();
        let callers: Vec<_> = (0..10_000)
            .map(|number| {
                let health = health.clone();
                tokio::spawn(async move {
                    if number % 2 == 0 {
                        let _ = timeout(MS, health.report()).await;
                        None
                    } else {
                        Some(health.report().await.entries.remove(0))
                    }
                })
            })
            .collect();
        let expected = match outcome {
            "up" => None,
            "down" => Some(Reason::Refused),
            "panic" => Some(Reason::Panicked),
            _ => Some(Reason::Timeout),
        };
        for caller in callers {
            if let Some(entry) = caller.await.expect("no panic here") {
                assert_eq!(entry.reason, expected, "{outcome}");
            }
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_of_several_dependencies_go_side_by_side() {
    let mut builder = Health::builder();
    for name in ["a", "b", "c", "d"] {
        builder = builder.check(name, async || {
            sleep(300 * MS).await;
            Ok(Outcome::up())
        });
    }
    let start = tokio::time::Instant::now();
    assert_eq!(builder.build().report().await.status, Status::Up);
    assert!(start.elapsed() < 310 * MS);
}
