//! Freshness and hysteresis: pure, time is an argument.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::period::Period;
use crate::{
    check::{CheckResult, Outcome},
    dependency::Settings,
    report::{CheckRun, History, Observations, Reason, Status},
};

/// What the last completed run left behind.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// What is shown: the run's own status after the thresholds.
    pub(crate) status: Status,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<Cow<'static, str>>,
    pub(crate) observations: Observations,
    pub(crate) started: Instant,
    pub(crate) duration: Duration,
    pub(crate) fresh_until: Instant,
    /// It serves longer than it otherwise would: the outage is a long one.
    pub(crate) backs_off: bool,
    /// Completed runs of one kind in a row: of these two, one is always 0.
    pub(crate) failures: u32,
    pub(crate) successes: u32,
    pub(crate) failing_since: Option<Instant>,
    /// When the last run ended that was up or degraded.
    pub(crate) last_up_at: Option<Instant>,
    /// Since when `status` has been shown; `None` while nothing has been yet.
    pub(crate) shown_since: Option<Instant>,
    pub(crate) history: History,
}

/// When a run started and ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
}

impl Verdict {
    /// The verdict after a run that found `result`.
    ///
    /// `jitter` in `0.0..1.0` is the share of the tenth that is added to the period.
    pub(crate) fn after(
        last: Option<&Self>,
        result: CheckResult,
        span: Span,
        settings: &Settings,
        jitter: f64,
    ) -> Self {
        let shown = last.map_or(Status::Unknown, |last| last.status);
        let duration = span.ended.saturating_duration_since(span.started);
        let run = CheckRun {
            status: result.as_ref().map_or(Status::Down, Outcome::status),
            reason: match &result {
                Ok(outcome) => outcome.reason,
                Err(failure) => Some(failure.reason()),
            },
            duration,
        };
        let outage = last
            .and_then(|last| last.failing_since)
            .map(|since| span.started.saturating_duration_since(since));
        let period = Period::of(settings, result.is_err(), outage.unwrap_or_default());
        let base = Self {
            status: shown,
            reason: None,
            message: None,
            observations: Observations::default(),
            started: span.started,
            duration,
            fresh_until: span.started + period.jittered(jitter),
            backs_off: period.backs_off(),
            failures: 0,
            successes: 0,
            failing_since: None,
            last_up_at: match &result {
                Ok(_) => Some(span.ended),
                Err(_) => last.and_then(|last| last.last_up_at),
            },
            shown_since: last.and_then(|last| last.shown_since),
            history: last
                .map_or_else(History::default, |last| last.history.clone())
                .then(run),
        };
        let next = match result {
            Ok(outcome) => {
                let successes = last.map_or(0, |last| last.successes).saturating_add(1);
                // Up or degraded already: nothing to wait for.
                let enough = shown.is_serving() || successes >= settings.success_threshold;
                Self {
                    successes,
                    failing_since: if enough {
                        None
                    } else {
                        last.and_then(|last| last.failing_since)
                    },
                    ..base.found(outcome, enough)
                }
            }
            Err(failure) => {
                let failures = last.map_or(0, |last| last.failures).saturating_add(1);
                Self {
                    status: if failures >= settings.failure_threshold {
                        Status::Down
                    } else {
                        shown
                    },
                    reason: Some(failure.reason()),
                    message: failure.message_text().cloned(),
                    observations: failure.observations,
                    failures,
                    failing_since: last
                        .and_then(|last| last.failing_since)
                        .or(Some(span.ended)),
                    ..base
                }
            }
        };
        if next.status == shown {
            return next;
        }
        Self {
            shown_since: Some(span.ended),
            ..next
        }
    }

    /// With what a good run found; its status shows only when it is `enough`.
    fn found(self, outcome: Outcome, enough: bool) -> Self {
        Self {
            status: if enough { outcome.status } else { self.status },
            reason: outcome.reason,
            message: outcome.message,
            observations: outcome.observations,
            ..self
        }
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now < self.fresh_until
    }

    /// Whether a background refresh should leave it as it is.
    pub(crate) fn is_backing_off(&self, now: Instant) -> bool {
        self.backs_off && self.is_fresh(now)
    }

    /// Whether it still counts for an asker whose patience ends before the next run does.
    ///
    /// The bound is that of a background refresh: period and timeout, doubled. Past
    /// it the verdict says nothing about now.
    pub(crate) fn is_usable(&self, settings: &Settings, now: Instant) -> bool {
        let period = self.fresh_until.saturating_duration_since(self.started);
        now.saturating_duration_since(self.started) <= (period + settings.timeout) * 2
    }
}
