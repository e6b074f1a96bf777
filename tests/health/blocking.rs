//! Synchronous checks, and the app's own word.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tower_health::{
    Dependency, Health, Outcome, Probe, Reason, Status,
    checks::{self, Switch},
};

const MS: Duration = Duration::from_millis(1);
/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn calls_that_hang_block_one_thread_between_them() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let inside = Arc::new(AtomicUsize::new(0));
    let counter = inside.clone();
    let check = checks::blocking(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        // Ends with the sender.
        let _ = gate.lock().expect("no panic").recv();
        Ok(Outcome::up())
    });
    let health = Health::builder()
        .add(
            Dependency::new("disk", check)
                .timeout(50 * MS)
                .cache_for(Duration::ZERO),
        )
        .build();
    let reason = async || health.report().await.entries[0].reason;
    assert_eq!(reason().await, Some(Reason::Timeout));
    for _ in 0..10 {
        assert_eq!(reason().await, Some(Reason::Stuck));
    }
    assert_eq!(
        inside.load(Ordering::SeqCst),
        1,
        "calls that wait in a thread"
    );
    drop(release);
    let recovered = async {
        while health.report().await.status != Status::Up {
            sleep(5 * MS).await;
        }
    };
    timeout(LIMIT, recovered)
        .await
        .expect("the next call works");
}

#[tokio::test]
async fn a_call_that_panics_is_panicked() {
    let check = checks::blocking(|| panic!("a bug in the check"));
    let health = Health::builder().check("disk", check).build();
    let report = health.report().await;
    assert_eq!(report.entries[0].reason, Some(Reason::Panicked));
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_down_while_the_app_says_so() {
    let switch = Switch::new();
    let health = Health::builder()
        .add(Dependency::in_process("state", switch.clone()).cache_for(Duration::ZERO))
        .build();
    let liveness = async || health.report_for(&Probe::Liveness).await;
    assert_eq!(liveness().await.status, Status::Up);
    switch.set_down("the index\nis corrupt");
    let report = liveness().await;
    assert_eq!((report.status, switch.is_up()), (Status::Down, false));
    let entry = &report.entries[0];
    assert_eq!(entry.reason, Some(Reason::Failed));
    assert_eq!(entry.message.as_deref(), Some("the index is corrupt"));
    switch.set_up();
    assert_eq!(liveness().await.status, Status::Up);
}
