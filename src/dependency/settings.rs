//! The times and thresholds of the runs of one dependency.

use std::time::Duration;

/// The timeout of a run, unless set otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(800);

/// The lifetime of a result, unless set otherwise.
///
/// Shorter than the period of a prober that probes each second: with 1 s, every other probe would get an
/// unchanged result.
const DEFAULT_LIFETIME: Duration = Duration::from_millis(900);

/// Whether a probe fails with the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    Required,
    Optional,
    RequiredUntilStarted,
}

/// The settings of the runs of one dependency.
///
/// No time exceeds [`MAX_DURATION`](crate::bounds::MAX_DURATION).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunSettings {
    pub(crate) timeout: Duration,
    pub(crate) cache_for: Option<Duration>,
    pub(crate) cache_failures_for: Option<Duration>,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) failure_threshold: u32,
    pub(crate) success_threshold: u32,
    /// The handle's, once the dependency belongs to one.
    pub(crate) refresh_every: Option<Duration>,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            cache_for: None,
            cache_failures_for: None,
            slow_after: None,
            failure_threshold: 1,
            success_threshold: 1,
            refresh_every: None,
        }
    }
}

impl RunSettings {
    /// How long a result is cached, before jitter.
    pub(crate) fn lifetime(&self, failed: bool) -> Duration {
        self.set_lifetime(failed).unwrap_or(DEFAULT_LIFETIME)
    }

    /// Whether the lifetime was set.
    pub(crate) fn has_lifetime(&self, failed: bool) -> bool {
        self.set_lifetime(failed).is_some()
    }

    /// The shortest time between two runs, before jitter.
    ///
    /// The longer of the refresh period and the lifetime that was set.
    pub(crate) fn period(&self, failed: bool) -> Duration {
        let refresh = self.refresh_every;
        let lifetime = self.set_lifetime(failed);
        refresh.max(lifetime).unwrap_or(DEFAULT_LIFETIME)
    }

    fn set_lifetime(&self, failed: bool) -> Option<Duration> {
        let own = self.cache_failures_for.filter(|_| failed);
        own.or(self.cache_for)
    }
}
