//! Where the app is in its life: starting, started, draining.

use std::sync::atomic::{AtomicBool, Ordering};

/// Two latches. Neither goes back by itself: a started app that loses its
/// database is unready, not unstarted.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    started: AtomicBool,
    draining: AtomicBool,
}

impl Lifecycle {
    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Returns whether this was the turn.
    pub(crate) fn set_started(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }
}
