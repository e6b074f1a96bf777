//! What an entry of a report shows, and that transitions show the same.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::time::{advance, sleep};
use tower_health::{
    Check, CheckResult, Dependency, Failure, Outcome, Reason, Status, report::ReportEntry,
};

use super::fixtures::{MS, SECOND, health, known, published, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

/// Fails unless the entry is in one of the documented states.
pub fn assert_documented(entry: &ReportEntry) {
    let has_reason = entry.reason.is_some();
    assert_eq!(has_reason, entry.status != Status::Up, "{entry:?}");
    let is_pending = matches!(entry.reason, Some(Reason::Pending | Reason::Stale));
    assert!(entry.status != Status::Unknown || is_pending, "{entry:?}");
}

/// The reasons of the ways in which a run ends.
const REASONS: [Option<Reason>; 6] = [
    None,
    Some(Reason::Saturated),
    Some(Reason::Refused),
    Some(Reason::Panicked),
    Some(Reason::Timeout),
    Some(Reason::Slow),
];

async fn run(reason: Option<Reason>) -> CheckResult {
    match reason {
        Some(Reason::Saturated) => return Ok(Outcome::degraded(Reason::Saturated)),
        Some(Reason::Refused) => return Err(Failure::new(Reason::Refused)),
        Some(Reason::Panicked) => panic!("a bug in the check"),
        Some(Reason::Timeout) => std::future::pending().await,
        Some(_) => sleep(200 * MS).await,
        None => {}
    }
    Ok(Outcome::up())
}

#[tokio::test(start_paused = true)]
async fn every_result_is_shown_alike_by_report_and_transitions() {
    for threshold in 1..=3 {
        let found = Arc::new(Mutex::new(None));
        let next = found.clone();
        let check = move || run(*next.lock().expect("no panic under it"));
        let dependency = Dependency::new("a", check).slow_after(100 * MS);
        let dependency = dependency.failure_threshold(threshold);
        let health = health(dependency.success_threshold(threshold));
        let mut transitions = health.subscribe();
        let mut last = Status::Unknown;
        // Every result after every other one, as often as the largest threshold.
        for reason in REASONS
            .iter()
            .flat_map(|one| REASONS.map(|next| [*one, next]))
        {
            for reason in reason.into_iter().flat_map(|reason| [reason; 3]) {
                *found.lock().expect("no panic under it") = reason;
                sleep(SECOND).await;
                let report = health.report().await;
                let entry = &report.entries[0];
                assert_documented(entry);
                if threshold == 1 {
                    assert_eq!(entry.reason, reason);
                }
                while let Some(transition) = published(&mut transitions).await {
                    assert_eq!(transition.from, last, "{reason:?}");
                    last = transition.to;
                }
                assert_eq!(last, entry.status, "{reason:?}, threshold {threshold}");
                assert_eq!(health.snapshot().status, report.status);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_shows_past_runs_and_when_it_was_up_last() {
    let switch = Switch::off();
    let health = health(switch.dependency("a"));
    let client = LayerClient::new(&health);
    let before = known(&health);
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
        let found = (&entry["last_up_ms"], &entry["never_up"]);
        assert_eq!(found, (&last_up, &never_up), "{entry}");
        advance(SECOND).await;
    }
    let runs = known(&health).history().to_vec();
    let runs: Vec<_> = runs.iter().map(|run| (run.status, run.reason)).collect();
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
        let health = health(dependency.timeout(SECOND).cache_for(3 * SECOND));
        let (_, entry) = LayerClient::new(&health).json("/health/a").await;
        assert_eq!(entry["target"], "postgres://***@db:5432");
        assert_eq!(entry["timeout_ms"], 1_000);
        assert_eq!(known(&health).interval, Some(3 * SECOND));
    }
}
