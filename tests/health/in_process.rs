//! Checks inside the process: blocking calls, switches, heartbeats, and the lag of a runtime.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use tokio::{
    join,
    runtime::Handle,
    sync::oneshot,
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower_health::{
    Dependency, Health, Outcome, Probe, Reason, Status,
    checks::{self, Heartbeat, RuntimeLag, Switch},
    report::ReportEntry,
};

use super::fixtures::{MS, SECOND, health, next_status, refused, runtime, undriven};
use crate::support::{MAXIMUM_WAIT, wait_until};

#[tokio::test]
async fn blocking_calls_may_panic_or_hang_on_one_thread() {
    let (release, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let hangs = checks::blocking(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        // Ends with the sender.
        let _ = gate.lock().expect("no panic").recv();
        Ok(Outcome::up())
    });
    let disk = Dependency::new("disk", hangs).cache_for(Duration::ZERO);
    let panics = checks::blocking(|| panic!("a bug in the check"));
    let panics = Dependency::new("panics", panics).optional();
    let health = Health::builder()
        .answer_within(MAXIMUM_WAIT)
        .add(disk.timeout(50 * MS))
        // A panic takes long where its backtrace is printed.
        .add(panics.timeout(MAXIMUM_WAIT))
        .build();
    for reason in [Reason::Timeout].into_iter().chain([Reason::Stuck; 10]) {
        let entries = health.report().await.entries;
        let found = [entries[0].reason, entries[1].reason];
        assert_eq!(found, [Some(reason), Some(Reason::Panicked)]);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(release);
    super::fixtures::becomes(&health, Status::Degraded).await;
}

#[tokio::test(start_paused = true)]
async fn liveness_checks_inside_the_process_only() {
    let (worker, switch) = (Heartbeat::new(30 * SECOND), Switch::new());
    let health = Health::builder()
        .check("database", refused)
        .liveness_check("worker", worker.clone())
        .liveness_check("state", switch.clone())
        .build();
    let live = async || next_status(&health, Probe::Liveness).await;
    assert_eq!(live().await, Status::Up);
    advance(31 * SECOND).await;
    assert_eq!(live().await, Status::Down);
    worker.beat();
    assert_eq!(live().await, Status::Up);
    switch.set_down("the index\nis corrupt");
    assert_eq!((live().await, switch.is_up()), (Status::Down, false));
    let entry = health.snapshot_for(&Probe::Liveness).entries.remove(1);
    assert_eq!(entry.reason, Some(Reason::Failed));
    assert_eq!(entry.message.as_deref(), Some("the index is corrupt"));
    switch.set_up();
    assert_eq!(live().await, Status::Up);
}

const PERIOD: Duration = Duration::from_millis(10);
const DOWN_AFTER: Duration = Duration::from_millis(300);
/// Where the runtime must not be down: a machine that is short of CPU must not fail the test.
const LATE: Duration = Duration::from_secs(2);

fn watching(runtime: &Handle, down_after: Duration) -> Health {
    let lag = RuntimeLag::for_runtime(runtime, PERIOD)
        .degraded_after(down_after / 3)
        .down_after(down_after);
    health(Dependency::in_process("runtime", lag).cache_for(Duration::ZERO))
}

async fn liveness(health: &Health) -> ReportEntry {
    health.report_for(&Probe::Liveness).await.entries.remove(0)
}

async fn becomes(health: &Health, is_right: impl Fn(Status) -> bool) -> ReportEntry {
    let mut last = liveness(health).await;
    wait_until("liveness changes", MAXIMUM_WAIT, async || {
        last = liveness(health).await;
        is_right(last.status)
    })
    .await;
    last
}

/// Checks that `runtime` is not down for longer than `LATE`.
async fn stays_serving(runtime: &Handle) {
    let (health, start) = (watching(runtime, LATE), Instant::now());
    while start.elapsed() < LATE + DOWN_AFTER {
        let entry = liveness(&health).await;
        assert!(entry.status.is_serving(), "{entry:?}");
        sleep(PERIOD).await;
    }
}

#[test]
fn a_busy_runtime_that_makes_progress_is_not_down() {
    let (blocking, endless) = (runtime(), runtime());
    for _ in 0..6 {
        // As hashing passwords on the worker threads does.
        blocking.spawn(async {
            loop {
                // A worker updates its counters after 61 polls, which is later than the test ends.
                thread::sleep(200 * MS);
                yield_now().await;
            }
        });
        // Its workers never park.
        endless.spawn(async {
            loop {
                yield_now().await;
            }
        });
    }
    undriven().block_on(async {
        join!(
            stays_serving(blocking.handle()),
            stays_serving(endless.handle())
        )
    });
}

#[test]
fn a_check_on_the_measured_runtime_is_degraded_at_most() {
    undriven().block_on(async {
        let health = watching(&Handle::current(), DOWN_AFTER);
        becomes(&health, |status| status == Status::Up).await;
        // The run and the canary come after this.
        thread::sleep(2 * DOWN_AFTER);
        let entry = liveness(&health).await;
        let found = (entry.status, entry.reason);
        assert_eq!(found, (Status::Degraded, Some(Reason::RuntimeLag)));
        becomes(&health, |status| status == Status::Up).await;
    });
}

#[test]
fn a_runtime_that_runs_no_task_is_down_to_another_one() {
    let app = undriven();
    undriven().block_on(async {
        let health = watching(app.handle(), DOWN_AFTER);
        let entry = becomes(&health, |status| status == Status::Down).await;
        assert_eq!(entry.reason, Some(Reason::RuntimeLag));
        let message = entry.message.unwrap_or_default();
        let start = "no task has been run for ";
        assert!(message.starts_with(start), "{message}");
        let (end, ended) = oneshot::channel::<()>();
        let driver = thread::spawn(move || drop(app.block_on(ended)));
        becomes(&health, Status::is_serving).await;
        drop(end);
        driver.join().expect("no panic");
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
