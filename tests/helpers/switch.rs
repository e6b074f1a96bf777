//! A check that the test switches on and off.

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_health::{CheckResult, Dependency, Failure, Outcome, Reason};

/// A check that is up while it is on, and counts its runs.
#[derive(Clone)]
pub struct Switch {
    on: Arc<AtomicBool>,
    runs: Arc<AtomicUsize>,
}

impl Switch {
    fn new(on: bool) -> Self {
        Self {
            on: Arc::new(AtomicBool::new(on)),
            runs: Arc::default(),
        }
    }

    pub fn on() -> Self {
        Self::new(true)
    }

    pub fn off() -> Self {
        Self::new(false)
    }

    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub fn check(&self) -> impl Fn() -> Ready<CheckResult> + use<> {
        let switch = self.clone();
        move || {
            switch.runs.fetch_add(1, Ordering::SeqCst);
            ready(if switch.on.load(Ordering::SeqCst) {
                Ok(Outcome::up())
            } else {
                Err(Failure::new(Reason::Refused).message("no server listens"))
            })
        }
    }

    /// Checked again every 20 ms.
    pub fn dependency(&self, name: &'static str) -> Dependency {
        Dependency::new(name, self.check()).cache_for(Duration::from_millis(20))
    }
}
