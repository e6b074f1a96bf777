//! Freshness and hysteresis, by tables.

use std::time::Duration;

use tokio::time::Instant;

use super::verdict::{Span, Verdict};
use crate::{
    check::{CheckResult, Outcome},
    dependency::Settings,
    report::{Failure, ObservedValue, Reason, Status},
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
        cache_failures_for: Some(200 * MS),
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

#[test]
fn a_long_outage_counts_from_its_first_failed_run_and_ends_with_a_success() {
    let settings = Settings::default();
    let start = Instant::now();
    let mut last: Option<Verdict> = None;
    // When each run starts, what it finds, for how long its verdict serves, and whether that is back-off.
    for (at, letter, serves, backs_off) in [
        (0, 'f', 1_000, false),
        (59_000, 'f', 1_000, false),
        (90_000, 'f', 1_500, true),
        (120_000, 'f', 2_000, true),
        (3_600_000, 'f', 2_000, true),
        (3_602_000, 'u', 1_000, false),
        (3_603_000, 'f', 1_000, false),
        (3_650_000, 'f', 1_000, false),
    ] {
        let started = start + at * MS;
        let span = Span {
            started,
            ended: started,
        };
        let next = Verdict::after(last.as_ref(), result(letter), span, &settings, 0.0);
        assert_eq!(next.fresh_until - started, serves * MS, "at {at} ms");
        let until = started + serves * MS;
        assert_eq!(next.is_backing_off(until - MS), backs_off, "at {at} ms");
        assert!(!next.is_backing_off(until), "at {at} ms");
        last = Some(next);
    }
}

#[test]
fn what_a_run_said_and_saw_stays_with_its_verdict() {
    let now = Instant::now();
    let span = Span {
        started: now,
        ended: now,
    };
    let after = |result| Verdict::after(None, result, span, &Settings::default(), 0.0);
    let good = after(Ok(Outcome::up().message("slow").observe("depth", 7_u64)));
    let bad = after(Err(Failure::new(Reason::Busy)
        .message("full")
        .observe("depth", 7_u64)));
    assert_eq!(good.message.as_deref(), Some("slow"));
    assert_eq!(bad.message.as_deref(), Some("full"));
    let seen = [("depth".into(), ObservedValue::from(7_u64))];
    assert_eq!(good.observations.values, seen);
    assert_eq!(bad.observations.values, seen);
}
