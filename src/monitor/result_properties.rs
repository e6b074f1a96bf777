//! Lifetime and thresholds, compared with a model that keeps every run.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use super::result::{LastResult, Span};
use crate::{
    check::{CheckResult, Outcome},
    dependency::RunSettings,
    report::{Failure, Reason, Status},
};

/// What a run found, how long after the previous one it started, and how long it took.
#[derive(Clone, Copy, Debug)]
struct ModelRun {
    found: RunOutcome,
    pause: Duration,
    took: Duration,
    jitter: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum RunOutcome {
    Up,
    Degraded,
    Failed,
}

impl RunOutcome {
    fn result(self) -> CheckResult {
        match self {
            Self::Up => Ok(Outcome::up()),
            Self::Degraded => Ok(Outcome::degraded(Reason::Saturated)),
            Self::Failed => Err(Failure::new(Reason::Refused)),
        }
    }
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn run() -> impl Strategy<Value = ModelRun> {
    let found = prop_oneof![
        2 => Just(RunOutcome::Up),
        1 => Just(RunOutcome::Degraded),
        3 => Just(RunOutcome::Failed),
    ];
    (found, millis(0..3_000), millis(0..900), 0.0..1.0).prop_map(|(found, pause, took, jitter)| {
        ModelRun {
            found,
            pause,
            took,
            jitter,
        }
    })
}

fn settings() -> impl Strategy<Value = RunSettings> {
    let failure = prop_oneof![Just(None), millis(0..2_000).prop_map(Some)];
    (1..4_u32, 1..4_u32, millis(0..5_000), failure).prop_map(
        |(failure_threshold, success_threshold, cache_for, cache_failures_for)| RunSettings {
            failure_threshold,
            success_threshold,
            cache_for: Some(cache_for),
            cache_failures_for,
            ..RunSettings::default()
        },
    )
}

/// How many of the last runs in a row did as `wanted` says.
fn in_a_row(runs: &[ModelRun], wanted: impl Fn(RunOutcome) -> bool) -> u32 {
    let count = runs
        .iter()
        .rev()
        .take_while(|run| wanted(run.found))
        .count();
    u32::try_from(count).expect("few")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn status_and_reason_follow_from_the_runs_alone(settings in settings(), runs in vec(run(), 1..24)) {
        let mut now = Instant::now();
        let mut last: Option<LastResult> = None;
        let mut shown = Status::Unknown;
        let mut since = None;
        for (at, run) in runs.iter().enumerate() {
            let started = now + run.pause;
            now = started + run.took;
            let span = Span { started, ended: now };
            let next = LastResult::after(last.as_ref(), run.found.result(), span, &settings, run.jitter);

            let failures = in_a_row(&runs[..=at], |found| found == RunOutcome::Failed);
            let successes = in_a_row(&runs[..=at], |found| found != RunOutcome::Failed);
            if run.found == RunOutcome::Failed {
                since = since.or(Some(now));
                if failures >= settings.failure_threshold {
                    shown = Status::Down;
                }
            } else if shown.is_serving() || successes >= settings.success_threshold {
                since = None;
                shown = match run.found {
                    RunOutcome::Up => Status::Up,
                    _ => Status::Degraded,
                };
            }
            prop_assert_eq!(next.status, shown);
            prop_assert_eq!((next.failures, next.successes), (failures, successes));
            prop_assert_eq!(next.failing_since, since);
            // The reason is that of the status that is shown, whatever the last run found.
            let has_reason = matches!(next.status, Status::Degraded | Status::Down);
            prop_assert_eq!(next.reason.is_some(), has_reason);
            prop_assert_eq!(next.found == Status::Down, run.found == RunOutcome::Failed);
            prop_assert_eq!((next.started, next.duration), (started, run.took));
            last = Some(next);
        }
    }

    #[test]
    fn a_result_is_cached_for_its_lifetime_and_a_tenth(
        settings in settings(),
        run in run(),
        later in millis(0..8_000),
    ) {
        let started = Instant::now();
        let span = Span { started, ended: started + run.took };
        let last = LastResult::after(None, run.found.result(), span, &settings, run.jitter);
        let period = match settings.cache_failures_for {
            Some(period) if run.found == RunOutcome::Failed => period,
            _ => settings.lifetime(false),
        };
        // The start of the run counts, however long it took.
        let fresh = last.is_fresh(started + later);
        prop_assert!(fresh || later >= period);
        prop_assert!(!fresh || later <= period + period / 10);
        // Nothing that is stale becomes fresh again, and what is fresh counts.
        prop_assert!(fresh || !last.is_fresh(started + later + Duration::from_millis(1)));
        prop_assert!(!fresh || last.is_usable(started + later));
    }
}
