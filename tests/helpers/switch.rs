//! A check that the test switches on and off.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tower_health::{CheckResult, Dependency, Failure, Outcome, Reason};

/// A check that is up while it is on, and counts its runs.
#[derive(Clone, Default)]
pub struct Switch {
    on: Arc<AtomicBool>,
    runs: Arc<AtomicUsize>,
}

impl Switch {
    pub fn on() -> Self {
        let switch = Self::default();
        switch.set(true);
        switch
    }

    pub fn off() -> Self {
        Self::default()
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
            let down = Failure::new(Reason::Refused).message("no server listens");
            let is_on = switch.on.load(Ordering::SeqCst);
            ready(is_on.then(Outcome::up).ok_or(down))
        }
    }

    /// Checked again every 20 ms.
    pub fn dependency(&self, name: &'static str) -> Dependency {
        Dependency::new(name, self.check()).cache_for(Duration::from_millis(20))
    }
}
