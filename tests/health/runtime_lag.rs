//! An executor that is wedged, wholly or in part, is not alive.

use std::{
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use crate::helpers::face::Face;
use crate::support::wait_until;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{block_in_place, yield_now},
    time::{Instant, sleep},
};
use tower_health::{Dependency, Health, Probe, Reason, Report, Status, checks::RuntimeLag};

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

#[test]
fn one_wedged_worker_is_down_though_another_one_answers() {
    let runtime = workers(2);
    runtime.block_on(async {
        let health = watching(runtime.handle(), DOWN_AFTER);
        assert_eq!(becomes(&health, Status::Up).await.reason, None);

        let wedge = block_one(runtime.handle()).await;
        // All of this is answered by the other worker of the same runtime.
        let report = becomes(&health, Status::Down).await;
        assert_eq!(report.entries[0].reason, Some(Reason::RuntimeLag));
        let (code, body) = Face::new(&health).get("/livez").await;
        assert_eq!(code, 503);
        assert!(body.contains(r#""reason":"runtime_lag""#), "{body}");
        assert!(body.contains("a worker thread has not moved"), "{body}");

        drop(wedge);
        // It runs again, and has run late lately: 200, and somebody should look.
        let report = becomes(&health, Status::Degraded).await;
        assert_eq!(report.entries[0].reason, Some(Reason::RuntimeLag));
        assert_eq!(Face::new(&health).code("/livez").await, 200);
        becomes(&health, Status::Up).await;
    });
}

#[test]
fn a_wholly_wedged_runtime_is_down_when_another_one_is_asked() {
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
fn a_runtime_that_nobody_drives_is_down() {
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
