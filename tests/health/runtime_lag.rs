//! A runtime that runs no task is down; one that is busy is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use crate::support::wait_until;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinHandle, block_in_place, yield_now},
    time::{Instant, sleep},
};
use tower_health::{Dependency, Health, Probe, Reason, Status, checks::RuntimeLag, report::Report};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_millis(10);
const DOWN_AFTER: Duration = Duration::from_millis(300);
/// Where nothing may be down: a machine that is short of CPU must not look like a fault.
const LATE: Duration = Duration::from_secs(2);

fn workers(count: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn watching(runtime: &Handle, down_after: Duration) -> Health {
    let lag = RuntimeLag::for_runtime(runtime, PERIOD)
        .degraded_after(down_after / 3)
        .down_after(down_after);
    Health::builder()
        .add(Dependency::in_process("runtime", lag).cache_for(Duration::ZERO))
        .build()
}

/// Blocks one worker thread of `runtime` until what is returned is dropped.
async fn block_one(runtime: &Handle) -> Sender<()> {
    let (end, ended) = channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        let _ = begin.send(());
        let _ = ended.recv();
    });
    begun.await.expect("a worker is free");
    end
}

async fn liveness(health: &Health) -> Report {
    health.report_for(&Probe::Liveness).await
}

async fn becomes(health: &Health, status: Status) -> Report {
    let mut last = liveness(health).await;
    wait_until(&format!("liveness is {status}"), LIMIT, async || {
        last = liveness(health).await;
        last.status == status
    })
    .await;
    last
}

/// As hashing passwords on the worker threads does.
#[test]
fn a_runtime_that_blocks_and_makes_progress_is_not_down() {
    let (app, management) = (workers(2), workers(1));
    let polls = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..6)
        .map(|_| {
            let polls = polls.clone();
            app.spawn(async move {
                loop {
                    std::thread::sleep(Duration::from_millis(300));
                    polls.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                }
            })
        })
        .collect();
    management.block_on(async {
        let health = watching(app.handle(), 3 * SECOND);
        let start = Instant::now();
        // Longer than the bound, and less than the 61 polls after which a worker updates its counters.
        while start.elapsed() < 5 * SECOND {
            let report = liveness(&health).await;
            assert!(report.status.is_serving(), "{report:?}");
            sleep(PERIOD).await;
        }
        assert!(polls.load(Ordering::SeqCst) > 6, "it makes progress");
    });
    load.iter().for_each(JoinHandle::abort);
}

#[test]
fn a_check_on_the_measured_runtime_is_degraded_at_most() {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let health = watching(&Handle::current(), DOWN_AFTER);
        becomes(&health, Status::Up).await;
        // The run and the canary come after this.
        std::thread::sleep(2 * DOWN_AFTER);
        let report = liveness(&health).await;
        assert_eq!(report.status, Status::Degraded);
        assert_eq!(report.entries[0].reason, Some(Reason::RuntimeLag));
        becomes(&health, Status::Up).await;
    });
}

#[test]
fn a_blocked_runtime_is_down_to_another_one() {
    for count in [1, 2] {
        let (app, management) = (workers(count), workers(1));
        management.block_on(async {
            let health = watching(app.handle(), DOWN_AFTER);
            becomes(&health, Status::Up).await;
            let mut wedges = Vec::new();
            for _ in 0..count {
                wedges.push(block_one(app.handle()).await);
            }
            let report = becomes(&health, Status::Down).await;
            assert_eq!(report.entries[0].reason, Some(Reason::RuntimeLag));
            drop(wedges);
            becomes(&health, Status::Up).await;
        });
    }
}

#[test]
fn a_runtime_that_is_not_driven_is_down() {
    let (app, management) = (
        Builder::new_current_thread().build().expect("a runtime"),
        workers(1),
    );
    management.block_on(async {
        let health = watching(app.handle(), DOWN_AFTER);
        let report = becomes(&health, Status::Down).await;
        let message = report.entries[0].message.as_deref().unwrap_or_default();
        assert!(
            message.starts_with("no task has been run for "),
            "{message}"
        );
    });
}

#[test]
fn workers_that_are_busy_and_go_on_are_alive() {
    busy_and_alive(&workers(2));
}

#[test]
fn so_is_the_one_thread_of_a_runtime_that_has_no_other() {
    let runtime = Builder::new_current_thread().enable_all().build();
    busy_and_alive(&runtime.expect("a runtime"));
}

fn busy_and_alive(runtime: &Runtime) {
    runtime.block_on(async {
        let health = watching(runtime.handle(), LATE);
        let busy: Vec<_> = (0..4)
            .map(|_| {
                runtime.spawn(async {
                    loop {
                        yield_now().await;
                    }
                })
            })
            .collect();
        // Past the bound, in which no worker ever parks.
        let start = Instant::now();
        while start.elapsed() < LATE + DOWN_AFTER {
            let report = liveness(&health).await;
            // Its own run may wait behind the busy ones.
            assert!(report.status <= Status::Unknown, "{report:?}");
            sleep(PERIOD).await;
        }
        for task in busy {
            task.abort();
        }
        // Nor was it unknown all the while because nothing looked.
        becomes(&health, Status::Up).await;
    });
}

#[test]
fn what_may_block_is_not_the_runtime() {
    let runtime = workers(1);
    runtime.block_on(async {
        let health = watching(runtime.handle(), LATE);
        let (end, ended) = channel::<()>();
        let (end_too, ended_too) = channel::<()>();
        runtime.spawn_blocking(move || ended.recv());
        runtime.spawn(async move { block_in_place(|| ended_too.recv()) });
        let start = Instant::now();
        while start.elapsed() < LATE + DOWN_AFTER {
            assert!(liveness(&health).await.status.is_serving());
            sleep(PERIOD).await;
        }
        drop((end, end_too));
    });
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_no_lag() {
    let health = watching(&Handle::current(), LATE);
    for _ in 0..100 {
        sleep(Duration::from_secs(60)).await;
        assert!(liveness(&health).await.status.is_serving());
    }
}
