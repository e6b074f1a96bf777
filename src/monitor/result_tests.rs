//! Lifetime and thresholds, as tables.

use std::time::Duration;

use tokio::time::Instant;

use super::result::{LastResult, Span};
use crate::{
    check::{CheckResult, Outcome},
    dependency::RunSettings,
    report::{Failure, ObservedValue, Reason, Status},
};

const MS: Duration = Duration::from_millis(1);

fn result(letter: char) -> CheckResult {
    match letter {
        'u' | 's' => Ok(Outcome::up()),
        'd' => Ok(Outcome::degraded(Reason::Saturated)),
        _ => Err(Failure::new(Reason::Refused)),
    }
}

/// The statuses shown after each run of `runs`, one letter a run.
fn shown(runs: &str, settings: &RunSettings) -> String {
    let start = Instant::now();
    let mut last: Option<LastResult> = None;
    let mut shown = String::new();
    for (number, letter) in (0..).zip(runs.chars()) {
        let started = start + 1_000 * MS * number;
        let took = if letter == 's' { 200 * MS } else { MS };
        let span = Span {
            started,
            ended: started + took,
        };
        let next = LastResult::after(last.as_ref(), result(letter), span, settings, 0.0);
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
        let settings = RunSettings {
            failure_threshold,
            success_threshold,
            ..RunSettings::default()
        };
        assert_eq!(shown(runs, &settings), expected, "{settings:?} {runs}");
    }
}

#[test]
fn lifetime_counts_from_the_start_of_the_run() {
    let settings = RunSettings {
        cache_for: Some(1_000 * MS),
        cache_failures_for: Some(200 * MS),
        ..RunSettings::default()
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
        let result = LastResult::after(None, result(letter), span, &settings, jitter);
        assert!(result.is_fresh(started + last * MS), "{letter} {jitter}");
        assert!(
            !result.is_fresh(started + (last + 1) * MS),
            "{letter} {jitter}"
        );
    }
}

#[test]
fn a_result_far_past_its_lifetime_is_not_usable() {
    let started = Instant::now();
    let span = Span {
        started,
        ended: started,
    };
    let second = Some(1_000 * MS);
    // Own lifetime, period of the background refresh, and for how long it is usable:
    // the longer of both and the timeout of 800 ms, doubled.
    for (cache_for, refresh_every, usable) in [
        (None, None, 3_400),
        (second, None, 3_600),
        (None, Some(500 * MS), 2_600),
        (second, Some(500 * MS), 3_600),
        (second, Some(2_000 * MS), 5_600),
    ] {
        let settings = RunSettings {
            cache_for,
            refresh_every,
            ..RunSettings::default()
        };
        let last = LastResult::after(None, result('u'), span, &settings, 0.0);
        assert!(last.is_usable(started + usable * MS), "{settings:?}");
        assert!(!last.is_usable(started + (usable + 1) * MS), "{settings:?}");
    }
}

#[test]
fn an_outage_is_dated_from_its_first_failed_run() {
    let start = Instant::now();
    let settings = RunSettings::default();
    let at = |s: u32| Span {
        started: start + 1_000 * MS * s,
        ended: start + 1_000 * MS * s + MS,
    };
    let first = LastResult::after(None, result('f'), at(0), &settings, 0.0);
    let second = LastResult::after(Some(&first), result('f'), at(1), &settings, 0.0);
    assert_eq!(second.failing_since, Some(at(0).ended));
    assert_eq!(second.failures, 2);
    let third = LastResult::after(Some(&second), result('u'), at(2), &settings, 0.0);
    assert_eq!((third.failing_since, third.failures), (None, 0));
}

#[test]
fn a_status_is_dated_from_the_run_that_changed_it() {
    let start = Instant::now();
    let settings = RunSettings {
        failure_threshold: 2,
        ..RunSettings::default()
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
        let next = LastResult::after(last.as_ref(), result(letter), span, &settings, 0.0);
        assert_eq!(next.shown_since, Some(end(since)), "run {number}");
        last = Some(next);
    }
}

#[test]
fn a_stale_or_stuck_result_is_dated_from_when_it_became_down() {
    let started = Instant::now();
    let span = Span {
        started,
        ended: started + MS,
    };
    let later = started + 10_000 * MS;
    let settings = RunSettings::default();
    for (letter, since) in [('u', later), ('d', later), ('f', span.ended)] {
        let last = LastResult::after(None, result(letter), span, &settings, 0.0);
        assert_eq!(last.stale(later).shown_since, Some(since), "{letter}");
        let stuck = LastResult::stuck(Some(&last), started, later, &settings);
        assert_eq!(stuck.shown_since, Some(since), "{letter}");
        assert_eq!(stuck.duration, 10_000 * MS);
    }
}

#[test]
fn history_keeps_what_each_run_found_by_itself() {
    let start = Instant::now();
    let settings = RunSettings {
        failure_threshold: 3,
        ..RunSettings::default()
    };
    let mut last = None;
    for letter in "ufdf".chars() {
        let span = Span {
            started: start,
            ended: start + MS,
        };
        last = Some(LastResult::after(
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
fn slow_runs_degrade_after_the_failure_threshold() {
    // Failure threshold, success threshold, runs (u quick, s slow, d degraded, f failed), shown.
    let table = [
        (1, 1, "us", "UG"),
        (1, 1, "usu", "UGU"),
        (2, 1, "ussu", "UUGU"),
        (2, 1, "usus", "UUUU"),
        (1, 2, "uusuusuuu", "?UGGUGGUU"),
        (2, 2, "uussusuu", "?UUGGGGU"),
        (2, 1, "ussfs", "UUGGG"),
        // While it is down a slow run is a success.
        (1, 2, "ffss", "DDDG"),
        (3, 1, "fffsss", "??DUUG"),
        // Degraded for another reason, and no longer: slow runs count from there.
        (2, 1, "dsds", "GUGU"),
    ];
    for (failure_threshold, success_threshold, runs, expected) in table {
        let settings = RunSettings {
            failure_threshold,
            success_threshold,
            slow_after: Some(100 * MS),
            ..RunSettings::default()
        };
        assert_eq!(shown(runs, &settings), expected, "{settings:?} {runs}");
    }
}

#[test]
fn a_slow_result_names_both_times() {
    let settings = RunSettings {
        slow_after: Some(100 * MS),
        ..RunSettings::default()
    };
    let started = Instant::now();
    let after = |took: u32| {
        let span = Span {
            started,
            ended: started + took * MS,
        };
        LastResult::after(None, result('u'), span, &settings, 0.0)
    };
    assert_eq!((after(100).status, after(100).reason), (Status::Up, None));
    let slow = after(101);
    assert_eq!(
        (slow.status, slow.reason),
        (Status::Degraded, Some(Reason::Slow))
    );
    assert_eq!(
        slow.message.as_deref(),
        Some("took 101 ms, more than 100 ms")
    );
    assert_eq!(slow.history.runs()[0].status, Status::Degraded);
}

#[test]
fn messages_and_observations_of_a_run_are_kept() {
    let now = Instant::now();
    let span = Span {
        started: now,
        ended: now,
    };
    let after = |result| LastResult::after(None, result, span, &RunSettings::default(), 0.0);
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
