//! A run belongs to nobody who asked for it: every way to lose an asker, a run or a runtime.
#![allow(missing_docs)]

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    time::{advance, sleep, timeout},
};
use tower_health::{CheckResult, Dependency, Failure, Health, Outcome, Reason, Status};

const MS: Duration = Duration::from_millis(1);
/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(20);

/// A check that ends when the test lets it, and counts its runs.
#[derive(Clone)]
struct Gate {
    runs: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    pass: Arc<Semaphore>,
}

/// Counts itself while it lives, however it ends.
struct Entered(Arc<AtomicUsize>);

impl Entered {
    fn into(count: &Arc<AtomicUsize>) -> Self {
        let entered = Self(count.clone());
        let others = count.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "two runs at once");
        entered
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    fn new() -> Self {
        Self {
            runs: Arc::default(),
            at_once: Arc::default(),
            pass: Arc::new(Semaphore::new(0)),
        }
    }

    fn check(
        &self,
    ) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = CheckResult> + Send>> + use<> {
        let gate = self.clone();
        move || {
            let gate = gate.clone();
            Box::pin(async move {
                gate.runs.fetch_add(1, Ordering::SeqCst);
                let _entered = Entered::into(&gate.at_once);
                let permit = gate.pass.acquire().await;
                permit.map(tokio::sync::SemaphorePermit::forget)?;
                Ok(Outcome::up())
            })
        }
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

fn health(gate: &Gate) -> Health {
    Health::builder().check("gate", gate.check()).build()
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_gives_up_takes_nobody_along() {
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
async fn the_run_goes_on_when_every_asker_gives_up() {
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
    let askers: Vec<_> = (0..100)
        .map(|_| {
            let health = health.clone();
            tokio::spawn(async move { health.report().await })
        })
        .collect();
    for asker in askers {
        let report = asker.await.expect("no panic here");
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
    // And the next one runs anew.
    advance(2_000 * MS).await;
    assert_eq!(health.report().await.entries[0].consecutive_failures, 2);
}

#[test]
fn a_run_that_blocks_its_thread_is_stuck_and_never_doubled() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .expect("a runtime");
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let health = Health::builder()
        .add(
            Dependency::new("blocking", move || {
                let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
                let gate = gate.clone();
                async move {
                    if first {
                        // Nothing can cancel this.
                        let _ = gate.lock().expect("no panic").recv();
                    }
                    Ok(Outcome::up())
                }
            })
            .timeout(50 * MS)
            .cache_for(50 * MS),
        )
        .build();
    runtime.block_on(async {
        assert_eq!(
            health.report().await.entries[0].reason,
            Some(Reason::Timeout)
        );
        let stuck = timeout(LIMIT, async {
            loop {
                let entry = health.report().await.entries.remove(0);
                if entry.reason == Some(Reason::Stuck) {
                    return entry;
                }
                sleep(5 * MS).await;
            }
        })
        .await
        .expect("is called stuck");
        assert_eq!(stuck.status, Status::Down);
        assert!(stuck.pending_for >= Some(100 * MS));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        drop(release);
        timeout(LIMIT, async {
            while health.report().await.status != Status::Up {
                sleep(5 * MS).await;
            }
        })
        .await
        .expect("runs anew once the stuck run is gone");
        assert!(runs.load(Ordering::SeqCst) >= 2);
    });
}

#[test]
fn an_asker_on_another_runtime_survives_the_one_that_runs() {
    let gate = Gate::new();
    let health = health(&gate);
    let doomed = runtime();
    // The run starts there.
    doomed.block_on(async {
        let _ = timeout(10 * MS, health.report()).await;
    });
    assert_eq!(gate.runs(), 1);
    let asker = thread::spawn({
        let health = health.clone();
        move || runtime().block_on(health.report())
    });
    drop(doomed);
    let report = asker.join().expect("no panic");
    // Whichever came first: the run was lost under the asker, or before it asked and a new one waits.
    assert_ne!(report.status, Status::Up);
    assert!(matches!(
        report.entries[0].reason,
        Some(Reason::Pending | Reason::Timeout)
    ));
    // The handle works on.
    gate.pass.add_permits(10);
    runtime().block_on(async {
        timeout(LIMIT, async {
            while health.report().await.status != Status::Up {
                sleep(5 * MS).await;
            }
        })
        .await
        .expect("recovers");
    });
}

#[test]
fn a_runtime_that_ends_says_nothing_of_the_dependency() {
    let gate = Gate::new();
    let dependency = Dependency::new("a", gate.check())
        .cache_for(Duration::ZERO)
        .timeout(3 * LIMIT);
    let health = Health::builder()
        .add(dependency)
        .answer_within(3 * LIMIT)
        .build();
    let mut transitions = health.subscribe();
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    assert_eq!(gate.runs(), 1);

    // The second run starts on a runtime that will not see its end.
    let doomed = runtime();
    doomed.block_on(async {
        let _ = timeout(10 * MS, health.report()).await;
    });
    assert_eq!(gate.runs(), 2);
    let end = thread::spawn(move || {
        thread::sleep(10 * MS);
        drop(doomed);
    });
    // Woken by the end, long before the patience ends, and told what is known.
    let report = runtime().block_on(async { timeout(LIMIT, health.report()).await });
    end.join().expect("no panic");
    // Or else the run was gone before it was asked for, and this one waits for its own.
    if let Ok(report) = report {
        assert_eq!(report.status, Status::Up);
        assert_eq!(report.entries[0].consecutive_failures, 0);
    }
    runtime().block_on(async {
        let first = transitions.next().await.expect("the first verdict");
        assert_eq!(first.to, Status::Up);
        let second = timeout(Duration::ZERO, transitions.next()).await;
        assert!(second.is_err(), "{second:?}");
    });
}

#[test]
fn who_asks_from_outside_a_runtime_is_told_what_is_known_and_harms_nobody() {
    let gate = Gate::new();
    let dependency = Dependency::new("a", gate.check()).cache_for(Duration::ZERO);
    let health = Health::builder().add(dependency).build();
    let ask = || {
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(health.report()).poll(&mut cx) {
            Poll::Ready(report) => report,
            Poll::Pending => unreachable!("there is nothing to wait for"),
        }
    };
    assert_eq!(ask().entries[0].reason, Some(Reason::Pending));
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    assert_eq!(ask().status, Status::Up);
    assert_eq!(health.snapshot().status, Status::Up);
    assert_eq!(gate.runs(), 1);
}

#[test]
fn a_snapshot_needs_no_runtime() {
    let health = health(&Gate::new());
    let report = health.snapshot();
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.entries[0].reason, Some(Reason::Pending));
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_wait_is_told_what_is_pending() {
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
async fn ten_thousand_askers_half_of_whom_hang_up_make_one_run() {
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
        let askers: Vec<_> = (0..10_000)
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
        for asker in askers {
            if let Some(entry) = asker.await.expect("no panic here") {
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

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}
