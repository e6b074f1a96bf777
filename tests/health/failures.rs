//! Errors are the app's code: they may panic, block, or ask the handle.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_health::{Dependency, Failure, Health, Reason, Status};

/// An error whose drop asks the handle.
struct Asks(Arc<OnceLock<Health>>);

/// An error whose text cannot be made.
#[derive(Debug)]
struct Panics;

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asks")
    }
}

impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl fmt::Display for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a bug in the error")
    }
}

impl Error for Asks {}
impl Error for Panics {}

impl Drop for Asks {
    fn drop(&mut self) {
        if let Some(health) = self.0.get() {
            let _ = health.snapshot();
        }
    }
}

/// Hangs if the error is dropped under a lock.
#[tokio::test]
async fn an_error_may_ask_the_handle_when_it_is_dropped() {
    let handle = Arc::new(OnceLock::new());
    let shared = handle.clone();
    let check = move || {
        let error = Asks(shared.clone());
        async move { Err(Failure::new(Reason::Refused).caused_by(error)) }
    };
    let health = Health::builder().check("a", check).build();
    assert!(handle.set(health.clone()).is_ok());
    let report = health.report().await;
    assert_eq!(report.entries[0].reason, Some(Reason::Refused));
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_text_is_panicked_and_cached() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let check = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Err(Failure::new(Reason::Refused).caused_by(Panics)) }
    };
    let dependency = Dependency::new("a", check).cache_for(Duration::from_secs(60));
    let health = Health::builder().add(dependency).build();
    for _ in 0..100 {
        let report = health.report().await;
        let entry = &report.entries[0];
        assert_eq!(
            (entry.status, entry.reason),
            (Status::Down, Some(Reason::Panicked))
        );
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
