//! When open gRPC watches end.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::bounds::MAX_DURATION;

/// How long watches stay open after `set_draining(true)`.
///
/// Long enough to revoke it, and too short to delay a shutdown.
const WATCH_GRACE: Duration = Duration::from_secs(1);

/// When open watches end, if the app is still draining then.
#[derive(Debug, Default)]
pub(super) struct StreamShutdown(Mutex<WatchEnd>);

#[derive(Clone, Copy, Debug, Default)]
struct WatchEnd {
    /// If draining was set without a delay.
    after_grace: Option<Instant>,
    /// If the app drains for a delay.
    after_drain: Option<Instant>,
}

impl StreamShutdown {
    pub(super) fn set_draining(&self, draining: bool) {
        let mut end = self.end();
        if draining {
            end.after_grace = Some(Instant::now() + WATCH_GRACE);
        } else {
            *end = WatchEnd::default();
        }
    }

    /// Plans the end for a drain of `delay`. The earliest end counts: the server stops then.
    pub(super) fn drain_for(&self, delay: Duration) {
        let at = Instant::now() + delay.min(MAX_DURATION);
        let mut end = self.end();
        end.after_drain = Some(end.after_drain.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn planned_at(&self) -> Option<Instant> {
        let end = self.end();
        end.after_drain.or(end.after_grace)
    }

    fn end(&self) -> MutexGuard<'_, WatchEnd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
