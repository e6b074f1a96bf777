//! A check that ends when the test lets it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, Semaphore};
use tower_health::{CheckResult, Outcome};

/// A check that ends when the test lets it, counts its runs, and fails if two of them overlap.
#[derive(Clone)]
pub struct Gate {
    runs: Arc<AtomicUsize>,
    alone: Arc<Mutex<()>>,
    pub pass: Arc<Semaphore>,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            runs: Arc::default(),
            alone: Arc::default(),
            pass: Arc::new(Semaphore::new(0)),
        }
    }

    pub fn check(&self) -> impl Fn() -> Pin<Box<dyn Future<Output = CheckResult> + Send>> + use<> {
        let gate = self.clone();
        move || {
            let gate = gate.clone();
            Box::pin(async move {
                gate.runs.fetch_add(1, Ordering::SeqCst);
                let _alone = gate.alone.try_lock().expect("one run at a time");
                gate.pass.acquire().await?.forget();
                Ok(Outcome::up())
            })
        }
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}
