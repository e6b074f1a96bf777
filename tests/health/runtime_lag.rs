//! A runtime that runs no task is down; a busy runtime is not.

use std::{
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};
use tower_health::{Dependency, Health, Probe, Reason, Status, checks::RuntimeLag, report::Report};

use super::fixtures::{MS, SECOND, runtime, undriven};
use crate::support::{MAXIMUM_WAIT, wait_until};

const PERIOD: Duration = Duration::from_millis(10);
const DOWN_AFTER: Duration = Duration::from_millis(300);
/// Where the runtime must not be down: a machine that is short of CPU must not fail the test.
const LATE: Duration = Duration::from_secs(2);

fn watching(runtime: &Handle, down_after: Duration) -> Health {
    let lag = RuntimeLag::for_runtime(runtime, PERIOD)
        .degraded_after(down_after / 3)
        .down_after(down_after);
    Health::builder()
        .add(Dependency::in_process("runtime", lag).cache_for(Duration::ZERO))
        .build()
}

/// Blocks one worker thread of `runtime` until the sender is dropped.
async fn block_one(runtime: &Handle) -> Sender<()> {
    let (end, ended) = channel::<()>();
    let (begin, begun) = oneshot::channel();
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

async fn becomes(health: &Health, is_right: impl Fn(Status) -> bool) -> Report {
    let mut last = liveness(health).await;
    wait_until("liveness changes", MAXIMUM_WAIT, async || {
        last = liveness(health).await;
        is_right(last.status)
    })
    .await;
    last
}

/// Checks liveness for longer than `LATE`.
async fn stays(health: &Health, is_right: impl Fn(Status) -> bool) {
    let start = Instant::now();
    while start.elapsed() < LATE + DOWN_AFTER {
        let report = liveness(health).await;
        assert!(is_right(report.status), "{report:?}");
        sleep(PERIOD).await;
    }
}

/// As hashing passwords on the worker threads does.
#[test]
fn a_runtime_that_blocks_and_makes_progress_is_not_down() {
    let (app, management) = (runtime(), undriven());
    let blocks = || async {
        loop {
            // A worker updates its counters after 61 polls, which is later than the test ends.
            thread::sleep(200 * MS);
            yield_now().await;
        }
    };
    let load: [JoinHandle<()>; 6] = [(); 6].map(|()| app.spawn(blocks()));
    management.block_on(stays(&watching(app.handle(), LATE), Status::is_serving));
    load.iter().for_each(JoinHandle::abort);
}

#[test]
fn workers_that_never_park_are_not_down() {
    thread::scope(|scope| {
        for runtime in [runtime(), undriven()] {
            scope.spawn(move || {
                runtime.block_on(async {
                    let health = watching(runtime.handle(), LATE);
                    let endless = || async {
                        loop {
                            yield_now().await;
                        }
                    };
                    let busy: [JoinHandle<()>; 4] = [(); 4].map(|()| runtime.spawn(endless()));
                    // The run may wait behind the busy tasks.
                    stays(&health, |status| status <= Status::Unknown).await;
                    busy.iter().for_each(JoinHandle::abort);
                    becomes(&health, |status| status == Status::Up).await;
                });
            });
        }
    });
}

#[test]
fn a_check_on_the_measured_runtime_is_degraded_at_most() {
    undriven().block_on(async {
        let health = watching(&Handle::current(), DOWN_AFTER);
        becomes(&health, |status| status == Status::Up).await;
        // The run and the canary come after this.
        thread::sleep(2 * DOWN_AFTER);
        let report = liveness(&health).await;
        assert_eq!(report.status, Status::Degraded);
        assert_eq!(report.entries[0].reason, Some(Reason::RuntimeLag));
        becomes(&health, |status| status == Status::Up).await;
    });
}

#[test]
fn a_runtime_that_runs_no_task_is_down_to_another_one() {
    let (app, left) = (runtime(), undriven());
    undriven().block_on(async {
        let health = watching(app.handle(), DOWN_AFTER);
        becomes(&health, Status::is_serving).await;
        let blocked = [block_one(app.handle()).await, block_one(app.handle()).await];
        becomes(&health, |status| status == Status::Down).await;
        drop(blocked);
        becomes(&health, Status::is_serving).await;
        let health = watching(left.handle(), DOWN_AFTER);
        let report = becomes(&health, |status| status == Status::Down).await;
        let entry = &report.entries[0];
        assert_eq!(entry.reason, Some(Reason::RuntimeLag));
        let message = entry.message.as_deref().unwrap_or_default();
        let start = "no task has been run for ";
        assert!(message.starts_with(start), "{message}");
    });
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_not_lag() {
    let health = watching(&Handle::current(), LATE);
    for _ in 0..100 {
        sleep(60 * SECOND).await;
        assert!(liveness(&health).await.status.is_serving());
    }
}
