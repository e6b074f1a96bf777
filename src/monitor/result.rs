//! Lifetime and thresholds: pure, time is an argument.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use crate::{
    check::{CheckResult, Outcome},
    dependency::RunSettings,
    report::{CheckRun, Failure, History, Observations, Reason, Status},
};

/// What the last completed run left behind.
#[derive(Clone, Debug)]
pub(crate) struct LastResult {
    /// What is shown, after the thresholds: the status with its reason and message.
    pub(crate) status: Status,
    /// `None` exactly if the status is up, or unknown because too few runs have ended.
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<Cow<'static, str>>,
    /// What the run found by itself.
    pub(crate) found: Status,
    pub(crate) observations: Observations,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) duration: Duration,
    /// The end of its lifetime: the next caller starts a run.
    pub(crate) fresh_until: Instant,
    /// Past this it says nothing about the present: period and timeout, doubled.
    pub(crate) usable_until: Instant,
    /// Completed runs of one kind in a row: of these two, one is always 0.
    pub(crate) failures: u32,
    pub(crate) successes: u32,
    pub(crate) failing_since: Option<Instant>,
    /// When the last run ended that was up or degraded.
    pub(crate) last_up_at: Option<Instant>,
    /// The last runs that were up, in a row: slower than allowed, or not.
    slow_runs: u32,
    quick_runs: u32,
    /// Whether it is degraded because runs are slow.
    is_slow: bool,
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

impl LastResult {
    /// The last result after a run that found `result`.
    ///
    /// `jitter` in `0.0..1.0` is the share of the tenth that is added to the lifetime.
    pub(crate) fn after(
        last: Option<&Self>,
        result: CheckResult,
        span: Span,
        settings: &RunSettings,
        jitter: f64,
    ) -> Self {
        let duration = span.ended.saturating_duration_since(span.started);
        let is_slow = settings.slow_after.is_some_and(|limit| duration > limit);
        let found = match &result {
            Ok(outcome) if is_slow => outcome.status.max(Status::Degraded),
            Ok(outcome) => outcome.status,
            Err(_) => Status::Down,
        };
        let run = CheckRun {
            status: found,
            reason: match &result {
                Ok(outcome) => outcome.reason.or(is_slow.then_some(Reason::Slow)),
                Err(failure) => Some(failure.reason()),
            },
            duration,
        };
        let lifetime = settings.lifetime(result.is_err());
        // Jitter only lengthens, so that the bound on checks per second holds.
        let lifetime = lifetime + lifetime.mul_f64(0.1 * jitter);
        let period = match settings.refresh_every {
            Some(period) if settings.has_lifetime(result.is_err()) => period.max(lifetime),
            Some(period) => period,
            None => lifetime,
        };
        let mut next = Self {
            status: last.map_or(Status::Unknown, |last| last.status),
            reason: last.and_then(|last| last.reason),
            message: last.and_then(|last| last.message.clone()),
            found,
            observations: Observations::default(),
            started: span.started,
            ended: span.ended,
            duration,
            fresh_until: span.started + lifetime,
            usable_until: span.started + (period + settings.timeout) * 2,
            failures: last.map_or(0, |last| last.failures),
            successes: last.map_or(0, |last| last.successes),
            failing_since: last.and_then(|last| last.failing_since),
            last_up_at: match &result {
                Ok(_) => Some(span.ended),
                Err(_) => last.and_then(|last| last.last_up_at),
            },
            slow_runs: last.map_or(0, |last| last.slow_runs),
            quick_runs: last.map_or(0, |last| last.quick_runs),
            is_slow: last.is_some_and(|last| last.is_slow),
            shown_since: last.and_then(|last| last.shown_since),
            history: last
                .map_or_else(History::default, |last| last.history.clone())
                .with(run),
        };
        let shown = next.status;
        match result {
            Ok(outcome) => next.succeed(outcome, settings),
            Err(failure) => next.fail(failure, settings),
        }
        if next.status != shown {
            next.shown_since = Some(span.ended);
        }
        next
    }

    fn succeed(&mut self, outcome: Outcome, settings: &RunSettings) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let is_up = outcome.status == Status::Up;
        let is_slow = is_up && self.found == Status::Degraded;
        self.slow_runs = if is_slow {
            self.slow_runs.saturating_add(1)
        } else {
            0
        };
        self.quick_runs = if is_up && !is_slow {
            self.quick_runs.saturating_add(1)
        } else {
            0
        };
        self.observations = outcome.observations;
        // Up or degraded already: nothing to wait for.
        if !self.status.is_serving() && self.successes < settings.success_threshold {
            return;
        }
        self.failing_since = None;
        let was_slow = self.is_slow && self.status == Status::Degraded;
        if is_slow && self.slow_runs >= settings.failure_threshold {
            self.is_slow = true;
            let limit = settings.slow_after.unwrap_or_default();
            let message = format!(
                "took {} ms, more than {} ms",
                self.duration.as_millis(),
                limit.as_millis()
            );
            self.show(Status::Degraded, Some(Reason::Slow), Some(message.into()));
        } else if !is_up || !was_slow || (self.quick_runs >= settings.success_threshold) {
            self.is_slow = false;
            self.show(outcome.status, outcome.reason, outcome.message);
        }
    }

    fn fail(&mut self, failure: Failure, settings: &RunSettings) {
        self.successes = 0;
        self.slow_runs = 0;
        self.quick_runs = 0;
        self.failures = self.failures.saturating_add(1);
        self.failing_since = self.failing_since.or(Some(self.ended));
        if self.failures >= settings.failure_threshold {
            self.is_slow = false;
            let message = failure.message_text().cloned();
            self.show(Status::Down, Some(failure.reason()), message);
        }
        self.observations = failure.observations;
    }

    fn show(&mut self, status: Status, reason: Option<Reason>, message: Option<Cow<'static, str>>) {
        self.status = status;
        self.reason = reason;
        self.message = message;
    }

    /// The same once its background refresh is overdue.
    pub(crate) fn stale(&self, now: Instant) -> Self {
        let mut stale = self.clone();
        stale.show(
            Status::Down,
            Some(Reason::Stale),
            Some("the background refresh is overdue".into()),
        );
        stale.is_slow = false;
        stale.ended = now;
        stale.failing_since = stale.failing_since.or(Some(now));
        if self.status != Status::Down {
            stale.shown_since = Some(now);
        }
        stale
    }

    /// The last result after a run that started at `since` has blocked for another period: a failed run.
    pub(crate) fn stuck(
        last: Option<&Self>,
        since: Instant,
        now: Instant,
        settings: &RunSettings,
    ) -> Self {
        let failure =
            Failure::new(Reason::Stuck).message("the run past its deadline cannot be cancelled");
        let span = Span {
            started: now,
            ended: now,
        };
        Self {
            duration: now.saturating_duration_since(since),
            ..Self::after(last, Err(failure), span, settings, 0.0)
        }
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now < self.fresh_until
    }

    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        now <= self.usable_until
    }

    /// When it was true: during its run and its lifetime.
    pub(crate) fn held(&self) -> (Instant, Instant) {
        (self.started, self.fresh_until.max(self.ended))
    }
}
