//! What an entry of a report shows, and that transitions show the same.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tokio::time::{advance, sleep};
use tower_health::{
    Check, CheckResult, Dependency, Failure, Health, Outcome, Reason, Status, report::ReportEntry,
};

use super::fixtures::{MS, SECOND, published, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

/// Fails unless the entry is in one of the documented states.
pub fn assert_documented(entry: &ReportEntry) {
    let has_reason = entry.reason.is_some();
    assert_eq!(has_reason, entry.status != Status::Up, "{entry:?}");
    let is_pending = matches!(entry.reason, Some(Reason::Pending | Reason::Stale));
    assert!(entry.status != Status::Unknown || is_pending, "{entry:?}");
}

const REASONS: [Option<Reason>; 6] = [
    None,
    Some(Reason::Saturated),
    Some(Reason::Refused),
    Some(Reason::Panicked),
    Some(Reason::Timeout),
    Some(Reason::Slow),
];

/// Each way in which a run ends.
async fn run(step: usize) -> CheckResult {
    match step {
        0 => Ok(Outcome::up()),
        1 => Ok(Outcome::degraded(Reason::Saturated)),
        2 => Err(Failure::new(Reason::Refused)),
        3 => panic!("a bug in the check"),
        4 => std::future::pending().await,
        _ => {
            sleep(200 * MS).await;
            Ok(Outcome::up())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_result_is_shown_alike_by_report_and_transitions() {
    for threshold in 1..=3 {
        let step = Arc::new(AtomicUsize::new(0));
        let next = step.clone();
        let check = move || run(next.load(Ordering::SeqCst));
        let dependency = Dependency::new("a", check)
            .slow_after(100 * MS)
            .failure_threshold(threshold)
            .success_threshold(threshold);
        let health = Health::builder().add(dependency).build();
        let mut transitions = health.subscribe();
        let mut last = Status::Unknown;
        // Every result after every other one, as often as the largest threshold.
        for next in [
            0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 1, 2, 1, 3, 1, 4, 1, 5, 2, 3, 4, 5, 4, 3, 5, 1,
        ] {
            step.store(next, Ordering::SeqCst);
            for _ in 0..3 {
                sleep(SECOND).await;
                let report = health.report().await;
                let entry = &report.entries[0];
                assert_documented(entry);
                if threshold == 1 {
                    assert_eq!(entry.reason, REASONS[next]);
                }
                while let Some(transition) = published(&mut transitions).await {
                    assert_eq!(transition.from, last, "step {next}");
                    last = transition.to;
                }
                assert_eq!(last, entry.status, "step {next}, threshold {threshold}");
                assert_eq!(health.snapshot().status, report.status);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_shows_past_runs_and_when_it_was_up_last() {
    let switch = Switch::off();
    let health = Health::builder().add(switch.dependency("a")).build();
    let client = LayerClient::new(&health);
    let before = health.snapshot().entries.remove(0);
    assert_eq!((before.last_up, before.never_up), (None, false));
    // Whether it is up, and the fields that show it.
    for (is_up, last_up, never_up) in [
        (false, Value::Null, Value::from(true)),
        (true, Value::Null, Value::Null),
        (false, Value::from(1_000), Value::Null),
        (false, Value::from(2_000), Value::Null),
    ] {
        switch.set(is_up);
        let (_, entry) = client.json("/health/a").await;
        assert_eq!(entry["status"] == "up", is_up);
        assert_eq!(entry["last_up_ms"], last_up, "{entry}");
        assert_eq!(entry["never_up"], never_up, "{entry}");
        advance(SECOND).await;
    }
    let report = health.snapshot();
    let runs = report.entries[0].history().iter();
    let runs: Vec<_> = runs.map(|run| (run.status, run.reason)).collect();
    let (up, down) = ((Status::Up, None), (Status::Down, Some(Reason::Refused)));
    assert_eq!(runs, [down, up, down, down]);
}

struct WithTarget(&'static str);

impl Check for WithTarget {
    async fn check(&self) -> CheckResult {
        Ok(Outcome::up())
    }

    fn target(&self) -> Option<String> {
        Some(self.0.to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn details_show_settings_and_the_target_without_credentials() {
    let target = "postgres://app:s3/cret@db:5432";
    for dependency in [
        Dependency::new("a", WithTarget(target)),
        Dependency::new("a", up).target(target),
    ] {
        let dependency = dependency.timeout(SECOND).cache_for(3 * SECOND);
        let health = Health::builder().add(dependency).build();
        let (_, entry) = LayerClient::new(&health).json("/health/a").await;
        assert_eq!(entry["target"], "postgres://***@db:5432");
        assert_eq!(entry["timeout_ms"], 1_000);
        let entry = health.snapshot().entries.remove(0);
        assert_eq!(entry.interval, Some(3 * SECOND));
    }
}
