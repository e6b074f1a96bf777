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
async fn blocking_calls_that_hang_block_one_thread() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let check = checks::blocking(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        // Ends with the sender.
        let _ = gate.lock().expect("no panic").recv();
        Ok(Outcome::up())
    });
    let disk = Dependency::new("disk", check).timeout(50 * MS);
    let health = Health::builder()
        .add(disk.cache_for(Duration::ZERO))
        .build();
    let reason = async || health.report().await.entries[0].reason;
    assert_eq!(reason().await, Some(Reason::Timeout));
    for _ in 0..10 {
        assert_eq!(reason().await, Some(Reason::Stuck));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(release);
    becomes(&health, Status::Up).await;
}

#[tokio::test]
async fn a_blocking_call_that_panics_is_panicked() {
    let check = checks::blocking(|| panic!("a bug in the check"));
    // A panic takes long where its backtrace is printed.
    let disk = Dependency::new("disk", check).timeout(MAXIMUM_WAIT);
    let builder = Health::builder().answer_within(MAXIMUM_WAIT);
    let report = builder.add(disk).build().report().await;
    assert_eq!(report.entries[0].reason, Some(Reason::Panicked));
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
    let report = health.snapshot_for(&Probe::Liveness);
    assert!(report.entry("database").is_none());
    let entry = report.entry("state").expect("registered");
    assert_eq!(entry.reason, Some(Reason::Failed));
    assert_eq!(entry.message.as_deref(), Some("the index is corrupt"));
    switch.set_up();
    assert_eq!(live().await, Status::Up);
}
