//! Settings that cannot work together: reported by the build, not by the first outage.

use std::{fmt, sync::Arc, time::Duration};

use crate::{access::MissingPeer, dependency::Dependency};

/// The default timeout of a kubelet (`timeoutSeconds`).
const PROBER_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between the first and the third failure that a kubelet sees: two periods (`periodSeconds`).
///
/// It acts on the third failure in a row (`failureThreshold`).
const PROBER_FAILS_FOR: Duration = Duration::from_secs(20);
/// The longest time until a kubelet acts: three periods.
const PROBER_ACTS_WITHIN: Duration = Duration::from_secs(30);

/// Settings that cannot work together, or with the defaults of a kubelet.
///
/// It displays as one line with the values and their effect:
///
/// ```text
/// database: timeout (2000 ms) exceeds answer_within (900 ms): callers get "pending" instead of the failure
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    dependency: Option<Arc<str>>,
    kind: ConfigWarningKind,
    text: String,
}

/// The kind of a [`ConfigWarning`]. The default settings cause no warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigWarningKind {
    /// [`answer_within`](crate::HealthBuilder::answer_within) is 1 s or more, the timeout of a kubelet.
    ///
    /// An answer after that time is a failure for the kubelet.
    AnswerTooLate,
    /// A [`timeout`](crate::Dependency::timeout) exceeds [`answer_within`](crate::HealthBuilder::answer_within).
    ///
    /// If the dependency does not respond, a caller gets `pending`, and only the next caller gets the failure. Not
    /// reported with a background refresh.
    TimeoutAfterAnswer,
    /// Results are not cached: the checks per second have no limit.
    Uncached,
    /// One failed run is displayed for more than 20 s, in which a kubelet counts three failures.
    OneFailureCountsAsThree,
    /// An outage may be displayed later than 30 s after its start.
    ///
    /// A kubelet would have acted by then. The period and
    /// [`failure_threshold`](crate::Dependency::failure_threshold) are too long.
    OutageShowsLate,
    /// A recovery may be displayed later than 30 s after it.
    ///
    /// The period and [`success_threshold`](crate::Dependency::success_threshold) are too long.
    ReturnShowsLate,
    /// A request without a peer address was denied by an access rule on addresses.
    ///
    /// Reported from the first such request on.
    NoPeerAddress,
}

impl ConfigWarning {
    /// Creates a warning about the handle.
    fn new(kind: ConfigWarningKind, text: String) -> Self {
        Self {
            dependency: None,
            kind,
            text,
        }
    }

    pub(super) fn no_peer_address() -> Self {
        Self::new(
            ConfigWarningKind::NoPeerAddress,
            MissingPeer::TEXT.to_owned(),
        )
    }

    /// Returns the kind of the warning.
    pub fn kind(&self) -> ConfigWarningKind {
        self.kind
    }

    /// Returns the name of the dependency; `None` if the warning is about the handle.
    pub fn dependency(&self) -> Option<&str> {
        self.dependency.as_deref()
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.dependency {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// The settings of a handle that must fit those of its dependencies.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimingSettings {
    pub(super) answer_within: Duration,
    pub(super) refresh_every: Option<Duration>,
}

impl TimingSettings {
    /// Returns the warnings about these settings and those of `dependencies`.
    pub(super) fn warnings<'a>(
        self,
        dependencies: impl IntoIterator<Item = &'a Dependency>,
    ) -> Vec<ConfigWarning> {
        let mut warnings = Vec::new();
        if self.answer_within >= PROBER_TIMEOUT {
            let text = format!(
                "answer_within ({} ms) is not below the timeout of a kubelet ({} ms)",
                self.answer_within.as_millis(),
                PROBER_TIMEOUT.as_millis(),
            );
            warnings.push(ConfigWarning::new(ConfigWarningKind::AnswerTooLate, text));
        }
        let of_each = dependencies.into_iter();
        warnings.extend(of_each.flat_map(|dependency| self.warnings_of(dependency)));
        warnings
    }

    /// Returns the warnings about the settings of `dependency`.
    pub(super) fn warnings_of(self, dependency: &Dependency) -> Vec<ConfigWarning> {
        let mut settings = dependency.settings;
        settings.refresh_every = self.refresh_every;
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        let mut warnings = Vec::new();
        let mut warn = |kind, text| {
            warnings.push(ConfigWarning {
                dependency: Some(dependency.name.clone()),
                ..ConfigWarning::new(kind, text)
            });
        };

        let timeout = settings.timeout;
        if self.refresh_every.is_none() && timeout > self.answer_within {
            let text = format!(
                "timeout ({}) exceeds answer_within ({}): callers get \"pending\" instead of the failure",
                ms(timeout),
                ms(self.answer_within),
            );
            warn(ConfigWarningKind::TimeoutAfterAnswer, text);
        }

        let (up, failed) = (settings.period(false), settings.period(true));
        // The cost of an in-process check is negligible.
        if !dependency.liveness && (up.is_zero() || failed.is_zero()) {
            let text = "results are not cached: each probe starts a run".to_owned();
            warn(ConfigWarningKind::Uncached, text);
        }
        // A kubelet probes neither the full probe nor groups.
        if !dependency.liveness && !dependency.readiness {
            return warnings;
        }
        if settings.failure_threshold == 1 && failed > PROBER_FAILS_FOR {
            let text = format!(
                "one failed run is displayed for {}: a kubelet, which probes every 10 s, counts three failures",
                ms(failed),
            );
            warn(ConfigWarningKind::OneFailureCountsAsThree, text);
        }
        let hidden = up
            .saturating_add(failed.saturating_mul(settings.failure_threshold - 1))
            .saturating_add(timeout);
        if hidden > PROBER_ACTS_WITHIN {
            let text = format!("an outage is displayed after up to {}", ms(hidden));
            warn(ConfigWarningKind::OutageShowsLate, text);
        }
        let kept_out = failed
            .saturating_add(up.saturating_mul(settings.success_threshold - 1))
            .saturating_add(timeout);
        if kept_out > PROBER_ACTS_WITHIN {
            let text = format!("a recovery is displayed after up to {}", ms(kept_out));
            warn(ConfigWarningKind::ReturnShowsLate, text);
        }
        warnings
    }
}

/// Writes one log event for each warning.
#[cfg(feature = "tracing")]
pub(super) fn log(warnings: &[ConfigWarning]) {
    for warning in warnings {
        tracing::warn!(target: "tower_health", "health settings that cannot work together: {warning}");
    }
}

#[cfg(not(feature = "tracing"))]
pub(super) fn log(_: &[ConfigWarning]) {}
