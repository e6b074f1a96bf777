//! A check that ends when the test lets it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;
use tower_health::{CheckResult, Outcome};

/// A check that ends when the test lets it, and counts its runs.
#[derive(Clone)]
pub struct Gate {
    runs: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    pub pass: Arc<Semaphore>,
}

/// Counts itself while it lives, however it ends.
struct Entered(Arc<AtomicUsize>);

impl Entered {
    fn into(count: &Arc<AtomicUsize>) -> Self {
        let entered = Self(count.clone());
        let others = count.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "two runs at once");
        entered
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    pub fn new() -> Self {
        Self {
            runs: Arc::default(),
            at_once: Arc::default(),
            pass: Arc::new(Semaphore::new(0)),
        }
    }

    pub fn check(
        &self,
    ) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = CheckResult> + Send>> + use<> {
        let gate = self.clone();
        move || {
            let gate = gate.clone();
            Box::pin(async move {
                gate.runs.fetch_add(1, Ordering::SeqCst);
                let _entered = Entered::into(&gate.at_once);
                let permit = gate.pass.acquire().await;
                permit.map(tokio::sync::SemaphorePermit::forget)?;
                Ok(Outcome::up())
            })
        }
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}
