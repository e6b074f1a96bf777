//! Settings that cannot work together, reported at the build and not in the first outage: pure.

use std::{fmt, sync::Arc, time::Duration};

use crate::{access::MissingPeer, dependency::Dependency};

/// What a kubelet waits for an answer by default (`timeoutSeconds`).
const PROBER_WAITS: Duration = Duration::from_secs(1);
/// A kubelet acts on the third failure in a row (`failureThreshold`), which is two periods
/// (`periodSeconds`, 10 s) after the first.
const PROBER_FAILS_OVER: Duration = Duration::from_secs(20);
/// Three of its periods: what it takes until it acts at most.
const PROBER_ACTS_WITHIN: Duration = Duration::from_secs(30);

/// Settings that cannot work together, or not with a prober that has its defaults.
///
/// Displays as one line with the numbers and their effect:
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

/// What cannot work. The defaults warn of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigWarningKind {
    /// [`answer_within`](crate::HealthBuilder::answer_within) is 1 s or more: a kubelet has given up by
    /// then, and takes an answer that is on its way for none.
    AnswerTooLate,
    /// A [`timeout`](crate::Dependency::timeout) is longer than
    /// [`answer_within`](crate::HealthBuilder::answer_within): while the dependency hangs, a caller gets
    /// `pending`, and the failure only with the next probe. Not with a background refresh.
    TimeoutAfterAnswer,
    /// Results are not cached: nothing bounds the checks per second.
    Uncached,
    /// One failed run shows for more than 20 s: a kubelet's three failures in a row are one.
    OneFailureCountsAsThree,
    /// Period and [`failure_threshold`](crate::Dependency::failure_threshold) hide an outage for
    /// more than the 30 s after which a kubelet would have acted.
    OutageShowsLate,
    /// Period and [`success_threshold`](crate::Dependency::success_threshold) keep it out of
    /// rotation for more than 30 s after its recovery.
    ReturnShowsLate,
    /// A rule on addresses met a request without a peer address, and denied it. Known once that happens.
    NoPeerAddress,
}

impl ConfigWarning {
    pub(super) fn no_peer_address() -> Self {
        Self {
            dependency: None,
            kind: ConfigWarningKind::NoPeerAddress,
            text: MissingPeer::TEXT.to_owned(),
        }
    }

    /// What cannot work.
    pub fn kind(&self) -> ConfigWarningKind {
        self.kind
    }

    /// The dependency whose settings they are; `None` for those of the handle.
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

/// The settings of a handle that those of its dependencies must go with.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimingSettings {
    pub(super) answer_within: Duration,
    pub(super) refresh_every: Option<Duration>,
}

impl TimingSettings {
    /// What cannot work of these settings and those of `dependencies`.
    pub(super) fn warnings<'a>(
        self,
        dependencies: impl IntoIterator<Item = &'a Dependency>,
    ) -> Vec<ConfigWarning> {
        let own = (self.answer_within >= PROBER_WAITS).then(|| ConfigWarning {
            dependency: None,
            kind: ConfigWarningKind::AnswerTooLate,
            text: format!(
                "answer_within ({} ms) is not below the timeout of a kubelet ({} ms)",
                self.answer_within.as_millis(),
                PROBER_WAITS.as_millis(),
            ),
        });
        let of_each = dependencies
            .into_iter()
            .flat_map(|dependency| self.warnings_of(dependency));
        own.into_iter().chain(of_each).collect()
    }

    /// What cannot work of the settings of `dependency`.
    pub(super) fn warnings_of(self, dependency: &Dependency) -> Vec<ConfigWarning> {
        let mut settings = dependency.settings;
        settings.refresh_every = self.refresh_every;
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        let mut warnings = Vec::new();
        let mut warn = |kind, text| {
            warnings.push(ConfigWarning {
                dependency: Some(dependency.name.clone()),
                kind,
                text,
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
        // An in-process check costs nothing.
        if !dependency.liveness && (up.is_zero() || failed.is_zero()) {
            let text = "results are not cached: each probe costs a run".to_owned();
            warn(ConfigWarningKind::Uncached, text);
        }
        // No orchestrator acts on the rest.
        if !dependency.liveness && !dependency.readiness {
            return warnings;
        }
        if settings.failure_threshold == 1 && failed > PROBER_FAILS_OVER {
            let text = format!(
                "one failed run shows for {}: a kubelet, which probes each 10 s, counts it three times",
                ms(failed),
            );
            warn(ConfigWarningKind::OneFailureCountsAsThree, text);
        }
        let hidden = up
            .saturating_add(failed.saturating_mul(settings.failure_threshold - 1))
            .saturating_add(timeout);
        if hidden > PROBER_ACTS_WITHIN {
            let text = format!("an outage shows after up to {}", ms(hidden));
            warn(ConfigWarningKind::OutageShowsLate, text);
        }
        let kept_out = failed
            .saturating_add(up.saturating_mul(settings.success_threshold - 1))
            .saturating_add(timeout);
        if kept_out > PROBER_ACTS_WITHIN {
            let text = format!("its recovery shows after up to {}", ms(kept_out));
            warn(ConfigWarningKind::ReturnShowsLate, text);
        }
        warnings
    }
}

/// One log event each.
#[cfg(feature = "tracing")]
pub(super) fn log(warnings: &[ConfigWarning]) {
    for warning in warnings {
        tracing::warn!("health settings that cannot work together: {warning}");
    }
}

#[cfg(not(feature = "tracing"))]
pub(super) fn log(_: &[ConfigWarning]) {}
