//! Runs and the runtimes they are on: one that blocks, one that ends, another one, and none.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::helpers::gate::Gate;
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tower_health::{Dependency, Health, Outcome, Reason, Status, report::Report};

const MS: Duration = Duration::from_millis(1);
/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(20);

fn health(gate: &Gate) -> Health {
    Health::builder().check("gate", gate.check()).build()
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
        .expect("runs again once the stuck run is gone");
        assert!(runs.load(Ordering::SeqCst) >= 2);
    });
}

#[test]
fn a_caller_joins_again_when_the_runtime_of_the_run_ends() {
    let gate = Gate::new();
    let health = patient(Dependency::new("gate", gate.check()));
    let report = asks_while_its_runtime_ends(&health, &gate);
    assert_eq!(report.status, Status::Up);
    assert_eq!(gate.runs(), 2);
}

#[test]
fn a_runtime_that_ends_is_no_failure_of_the_dependency() {
    let gate = Gate::new();
    let health = patient(Dependency::new("a", gate.check()).cache_for(Duration::ZERO));
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    assert_eq!(gate.runs(), 1);

    // The second run is on a runtime that does not see its end, the third one on that of the caller.
    let report = asks_while_its_runtime_ends(&health, &gate);
    assert_eq!(gate.runs(), 3);
    assert_eq!(report.status, Status::Up);
    let entry = &report.entries[0];
    assert_eq!((entry.consecutive_failures, entry.history().len()), (0, 2));
}

#[test]
fn outside_a_runtime_last_results_are_returned() {
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

/// Whose runs and callers have far more time than a test.
fn patient(dependency: Dependency) -> Health {
    Health::builder()
        .add(dependency.timeout(60 * LIMIT))
        .answer_within(60 * LIMIT)
        .build()
}

/// Joins a run from another runtime, and is woken when the one that the run is on ends.
fn asks_while_its_runtime_ends(health: &Health, gate: &Gate) -> Report {
    let before = gate.runs();
    let doomed = runtime();
    doomed.block_on(async {
        // Leaves the run to itself.
        let _ = timeout(Duration::ZERO, health.report()).await;
        let begun = async {
            while gate.runs() == before {
                sleep(MS).await;
            }
        };
        timeout(LIMIT, begun).await.expect("the run begins");
    });
    // By hand, so that it is known to wait before that runtime ends, and to have been woken after.
    let other = runtime();
    let _inside = other.enter();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    let mut asking = pin!(health.report());
    assert!(asking.as_mut().poll(&mut cx).is_pending());
    assert!(!woken.0.load(Ordering::SeqCst), "nothing has happened yet");
    drop(doomed);
    assert!(woken.0.load(Ordering::SeqCst), "the end wakes who waits");
    gate.pass.add_permits(1);
    other.block_on(async { timeout(LIMIT, asking).await.expect("joins again") })
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Only `block_on` drives such a runtime.
fn undriven() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn a_run_whose_runtime_is_not_driven_is_superseded() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (counter, gate) = (runs.clone(), Arc::new(tokio::sync::Notify::new()));
    let late = gate.clone();
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
    let health = Health::builder()
        .add(Dependency::new("a", check).timeout(50 * MS))
        .build();
    let left = undriven();
    left.block_on(async {
        let _ = timeout(Duration::ZERO, health.report()).await;
        while runs.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    });
    runtime().block_on(async {
        let up = async {
            while health.report().await.status != Status::Up {
                sleep(5 * MS).await;
            }
        };
        timeout(LIMIT, up).await.expect("a run of this runtime");
    });
    // The old one could end by now, and has no result.
    gate.notify_one();
    left.block_on(async { sleep(20 * MS).await });
    let entry = health.snapshot().entries.remove(0);
    assert_eq!((entry.history().len(), runs.load(Ordering::SeqCst)), (1, 2));
}

#[test]
fn a_refresh_whose_runtime_is_not_driven_moves_on() {
    let health = Health::builder()
        .add(Dependency::new("a", async || Ok(Outcome::up())).timeout(50 * MS))
        .refresh_every(50 * MS)
        .build();
    let left = undriven();
    left.block_on(async {
        while health.report().await.status != Status::Up {
            sleep(5 * MS).await;
        }
    });
    runtime().block_on(async {
        let stale = async {
            while health.report().await.status != Status::Down {
                sleep(5 * MS).await;
            }
        };
        timeout(LIMIT, stale).await.expect("it is overdue");
        let fresh = async {
            while health.report().await.status != Status::Up {
                sleep(5 * MS).await;
            }
        };
        timeout(LIMIT, fresh).await.expect("it is refreshed here");
    });
    drop(left);
}

#[test]
fn without_a_timer_last_results_are_returned() {
    let health = Health::builder()
        .check("a", async || Ok(Outcome::up()))
        .build();
    let without_timer = Builder::new_current_thread().build().expect("a runtime");
    let report = without_timer.block_on(health.report());
    assert_eq!(report.entries[0].reason, Some(Reason::Pending));
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    assert_eq!(without_timer.block_on(health.report()).status, Status::Up);
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
    let health = Health::builder()
        .add(Dependency::new("a", check).timeout(Duration::MAX))
        .build();
    let _ = timeout(Duration::ZERO, health.report()).await;
    while gate.runs() == 0 {
        tokio::task::yield_now().await;
    }
    drop(health);
    let gone = async {
        while alive.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, gone)
        .await
        .expect("run and check are dropped");
}
