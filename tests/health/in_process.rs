//! Checks inside the process: blocking calls, switches and heartbeats.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::time::advance;
use tower_health::{
    Dependency, Health, Outcome, Probe, Reason, Status,
    checks::{self, Heartbeat, Switch},
};

use super::fixtures::{MS, SECOND, becomes, next_status, refused};
use crate::support::MAXIMUM_WAIT;

#[tokio::test]
async fn blocking_calls_may_panic_or_hang_on_one_thread() {
    let (release, gate) = mpsc::channel::<()>();
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
    becomes(&health, Status::Degraded).await;
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
