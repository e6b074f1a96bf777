//! When open gRPC watches end while the app drains.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Health;
use crate::bounds::MAX_DURATION;

/// The delay after `set_draining(true)`: long enough to take it back, too short to hold up a shutdown.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// When watches end, if the app is still draining then.
#[derive(Debug, Default)]
pub(super) struct StreamShutdown(Mutex<Option<End>>);

#[derive(Clone, Copy, Debug)]
enum End {
    /// Draining was set without a delay.
    Lingers(Instant),
    /// The app named a delay.
    Drains(Instant),
}

impl StreamShutdown {
    /// Notes that draining was set or taken back.
    pub(super) fn drains(&self, draining: bool) {
        self.change(|end| {
            draining.then(|| end.unwrap_or_else(|| End::Lingers(Instant::now() + LINGER)))
        });
    }

    /// Notes that the app drains for `delay`.
    ///
    /// Of several delays the one that ends first counts: then the server is stopped.
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
    /// Ends open watches, as at the end of a drain.
    #[cfg(feature = "signal")]
    pub(super) fn close_streams(&self) {
        self.shared().closing.drains_for(Duration::ZERO);
        self.nudge();
    }

    /// When open watches end, if the app is draining then.
    pub(super) fn streams_close_at(&self) -> Option<Instant> {
        self.shared().closing.at()
    }
}

#[cfg(all(test, feature = "signal"))]
mod tests {
    use super::{Duration, Health, Instant};

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_open_watches_at_once() {
        let health = Health::builder().build();
        let draining = health.clone();
        tokio::spawn(async move { draining.drain(Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        let now = Instant::now();
        assert!(health.streams_close_at().is_some_and(|at| at > now));
        health.close_streams();
        assert!(health.streams_close_at().is_some_and(|at| at <= now));
    }
}
