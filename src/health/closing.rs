//! When streams that stay open end while the app drains.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Health;
use crate::bounds::MAX_DURATION;

/// After draining was set without a delay of its own: long enough to take it back, too
/// short to hold up a shutdown.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Their end, if the app is still draining then.
#[derive(Debug, Default)]
pub(super) struct Closing(Mutex<Option<End>>);

#[derive(Clone, Copy, Debug)]
enum End {
    Lingers(Instant),
    /// The caller said how long it drains.
    Drains(Instant),
}

impl Closing {
    /// Draining has been set or taken back.
    pub(super) fn drains(&self, draining: bool) {
        self.change(|end| {
            draining.then(|| end.unwrap_or_else(|| End::Lingers(Instant::now() + LINGER)))
        });
    }

    /// The app drains for `delay`. Of several delays the first to be over counts: that is when the
    /// server is told to stop.
    pub(super) fn drains_for(&self, delay: Duration) {
        let at = Instant::now() + delay.min(MAX_DURATION);
        self.change(|end| {
            Some(End::Drains(match end {
                Some(End::Drains(earlier)) => earlier.min(at),
                _ => at,
            }))
        });
    }

    fn change(&self, to: impl FnOnce(Option<End>) -> Option<End>) {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *end = to(*end);
    }

    fn at(&self) -> Option<Instant> {
        let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.map(|(End::Lingers(at) | End::Drains(at))| at)
    }
}

impl Health {
    /// When streams end, if the app is draining then.
    pub(crate) fn streams_close_at(&self) -> Option<Instant> {
        self.shared().closing.at()
    }
}
