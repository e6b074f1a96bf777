//! Freshness and hysteresis: pure, time is an argument.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::period::Period;
use crate::{
    check::{CheckResult, Outcome},
    dependency::Settings,
    report::{History, Observations, Reason, Status},
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
        let found = result.as_ref().map_or(Status::Down, Outcome::status);
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
            shown_since: last.and_then(|last| last.shown_since),
            history: last
                .map_or_else(History::default, |last| last.history.clone())
                .then(found, duration),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Settings, Span, Verdict};
    use crate::{
        check::{CheckResult, Outcome},
        report::{Failure, Reason, Status},
    };

    const MS: Duration = Duration::from_millis(1);

    fn result(letter: char) -> CheckResult {
        match letter {
            'u' => Ok(Outcome::up()),
            'd' => Ok(Outcome::degraded(Reason::Saturated)),
            _ => Err(Failure::new(Reason::Refused)),
        }
    }

    /// The statuses shown after each run of `runs`, one letter a run.
    fn shown(runs: &str, settings: &Settings) -> String {
        let start = Instant::now();
        let mut last: Option<Verdict> = None;
        let mut shown = String::new();
        for (number, letter) in (0..).zip(runs.chars()) {
            let started = start + 1_000 * MS * number;
            let span = Span {
                started,
                ended: started + MS,
            };
            let next = Verdict::after(last.as_ref(), result(letter), span, settings, 0.0);
            shown.push(match next.status {
                Status::Up => 'U',
                Status::Degraded => 'G',
                Status::Unknown => '?',
                Status::Down => 'D',
            });
            last = Some(next);
        }
        shown
    }

    #[test]
    fn thresholds_count_completed_runs_in_a_row() {
        // Failure threshold, success threshold, runs (u up, d degraded, f failed), shown.
        let table = [
            (1, 1, "", ""),
            (1, 1, "ufu", "UDU"),
            (1, 1, "f", "D"),
            (10, 1, "uf", "UU"),
            (3, 1, "uffuff", "UUUUUU"),
            (3, 1, "ufff", "UUUD"),
            (3, 1, "fff", "??D"),
            (1, 2, "u", "?"),
            (1, 2, "uu", "?U"),
            (1, 2, "uufuu", "?UDDU"),
            (1, 2, "uufufuu", "?UDDDDU"),
            (2, 2, "uuffuu", "?UUDDU"),
            (1, 1, "dud", "GUG"),
            (2, 1, "dff", "GGD"),
        ];
        for (failure_threshold, success_threshold, runs, expected) in table {
            let settings = Settings {
                failure_threshold,
                success_threshold,
                ..Settings::default()
            };
            assert_eq!(shown(runs, &settings), expected, "{settings:?} {runs}");
        }
    }

    #[test]
    fn freshness_counts_from_the_start_of_the_run() {
        let settings = Settings {
            cache_for: 1_000 * MS,
            cache_failure_for: Some(200 * MS),
            ..Settings::default()
        };
        let started = Instant::now();
        let span = Span {
            started,
            ended: started + 300 * MS,
        };
        // Result, jitter, last fresh millisecond.
        let table = [
            ('u', 0.0, 999),
            ('d', 0.0, 999),
            ('f', 0.0, 199),
            ('u', 1.0, 1_099),
            ('f', 0.5, 209),
        ];
        for (letter, jitter, last) in table {
            let verdict = Verdict::after(None, result(letter), span, &settings, jitter);
            assert!(verdict.is_fresh(started + last * MS), "{letter} {jitter}");
            assert!(
                !verdict.is_fresh(started + (last + 1) * MS),
                "{letter} {jitter}"
            );
        }
    }

    #[test]
    fn a_verdict_far_past_its_time_does_not_count() {
        let settings = Settings::default();
        let started = Instant::now();
        let span = Span {
            started,
            ended: started,
        };
        let verdict = Verdict::after(None, result('u'), span, &settings, 0.0);
        // 1 s and 800 ms, doubled.
        assert!(verdict.is_usable(&settings, started + 3_600 * MS));
        assert!(!verdict.is_usable(&settings, started + 3_601 * MS));
    }

    #[test]
    fn an_outage_is_dated_from_its_first_failed_run() {
        let start = Instant::now();
        let settings = Settings::default();
        let at = |s: u32| Span {
            started: start + 1_000 * MS * s,
            ended: start + 1_000 * MS * s + MS,
        };
        let first = Verdict::after(None, result('f'), at(0), &settings, 0.0);
        let second = Verdict::after(Some(&first), result('f'), at(1), &settings, 0.0);
        assert_eq!(second.failing_since, Some(at(0).ended));
        assert_eq!(second.failures, 2);
        let third = Verdict::after(Some(&second), result('u'), at(2), &settings, 0.0);
        assert_eq!((third.failing_since, third.failures), (None, 0));
    }

    #[test]
    fn a_status_is_dated_from_the_run_that_changed_it() {
        let start = Instant::now();
        let settings = Settings {
            failure_threshold: 2,
            ..Settings::default()
        };
        let end = |number: u32| start + 1_000 * MS * number + MS;
        let mut last = None;
        // Result of each run, and the run whose end its status dates from.
        for (number, (letter, since)) in (0..).zip([
            ('u', 0),
            ('u', 0),
            ('f', 0),
            ('f', 3),
            ('f', 3),
            ('d', 5),
            ('u', 6),
        ]) {
            let span = Span {
                started: end(number) - MS,
                ended: end(number),
            };
            let next = Verdict::after(last.as_ref(), result(letter), span, &settings, 0.0);
            assert_eq!(next.shown_since, Some(end(since)), "run {number}");
            last = Some(next);
        }
    }

    #[test]
    fn history_keeps_what_each_run_found_whatever_the_thresholds_show() {
        let start = Instant::now();
        let settings = Settings {
            failure_threshold: 3,
            ..Settings::default()
        };
        let mut last = None;
        for letter in "ufdf".chars() {
            let span = Span {
                started: start,
                ended: start + MS,
            };
            last = Some(Verdict::after(
                last.as_ref(),
                result(letter),
                span,
                &settings,
                0.0,
            ));
        }
        let history = last.expect("four runs").history;
        let found: Vec<_> = history.runs().iter().map(|run| run.status).collect();
        assert_eq!(
            found,
            [Status::Up, Status::Down, Status::Degraded, Status::Down]
        );
        assert!(history.runs().iter().all(|run| run.duration == MS));
    }
}
