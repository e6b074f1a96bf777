//! Runs and the runtimes they are on: one that blocks, one that ends, another one, and none.
#![allow(missing_docs)]

mod gate;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use gate::Gate;
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tower_health::{Dependency, Health, Outcome, Reason, Status};

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

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}
