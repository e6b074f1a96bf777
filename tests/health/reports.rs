//! What an entry of a report shows, and the transitions between what it shows: for subscribers and for the log.

use std::{
    future::{pending, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, advance, sleep, timeout};
use tower_health::{
    Check, CheckResult, Dependency, Failure, Health, Outcome, Reason, Status, health::Transitions,
    report::ReportEntry,
};

use super::fixtures::{
    MS, Run, SECOND, Scripted, checked, health, known, published, refused, slow, up,
};
use crate::helpers::switch::Switch;

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

async fn end(reason: Option<Reason>) -> CheckResult {
    match reason {
        Some(Reason::Saturated) => return Ok(Outcome::degraded(Reason::Saturated)),
        Some(Reason::Refused) => return Err(Failure::new(Reason::Refused)),
        Some(Reason::Panicked) => panic!("a bug in the check"),
        Some(Reason::Timeout) => pending().await,
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
        let check = move || end(*next.lock().expect("no panic under it"));
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
    let shown = || (known(&health).last_up, known(&health).never_up);
    assert_eq!(shown(), (None, false));
    for (is_up, last_up, never_up) in [
        (false, None, true),
        (true, Some(Duration::ZERO), false),
        (false, Some(SECOND), false),
        (false, Some(2 * SECOND), false),
    ] {
        switch.set(is_up);
        health.report().await;
        assert_eq!(shown(), (last_up, never_up));
        let json = serde_json::to_value(known(&health)).expect("JSON");
        let last_up = last_up.filter(|_| !is_up).map(|ago| json!(ago.as_millis()));
        assert_eq!(json.get("last_up_ms"), last_up.as_ref());
        assert_eq!(json.get("never_up").is_some(), never_up);
        advance(SECOND).await;
    }
    let past = known(&health).history().to_vec();
    let past: Vec<_> = past.iter().map(|run| (run.status, run.reason)).collect();
    let (up, down) = ((Status::Up, None), (Status::Down, Some(Reason::Refused)));
    assert_eq!(past, [down, up, down, down]);
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
        let entry = known(&health);
        let target = entry.target.as_deref();
        assert_eq!(target, Some("postgres://***@db:5432"));
        let times = (entry.timeout, entry.interval);
        assert_eq!(times, (Some(SECOND), Some(3 * SECOND)));
    }
}

/// The next run, 2 s later.
async fn run(health: &Health) {
    advance(2 * SECOND).await;
    let _ = health.report().await;
}

/// The name and status of each transition that was published already.
async fn received(transitions: &mut Transitions) -> Vec<(String, Status)> {
    let mut received = Vec::new();
    while let Some(next) = published(transitions).await {
        received.push((next.name.to_string(), next.to));
    }
    received
}

fn down(name: &str) -> (String, Status) {
    (name.to_owned(), Status::Down)
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_receives_all_since_it_subscribed() {
    let check = Scripted::new();
    let database = Dependency::new("database", check.check()).kind("postgres");
    let health = health(database.optional());
    let mut transitions = health.subscribe();
    for _ in 0..5 {
        run(&health).await;
    }
    let mut late = health.subscribe();
    let first = published(&mut transitions).await.expect("a first result");
    assert_eq!((first.from, first.to), (Status::Unknown, Status::Up));
    assert_eq!(first.previous_for, 2 * SECOND);
    check.set(refused);
    run(&health).await;
    // Another reason for the same status is not a transition.
    check.set(|| ready(Err(Failure::new(Reason::Reset))));
    run(&health).await;
    // A clone does not get what the original has received.
    for transitions in [&mut transitions.clone(), &mut late] {
        assert_eq!(received(transitions).await, [down("database")]);
    }
    let down = published(&mut transitions).await.expect("it is down");
    assert_eq!(
        serde_json::to_string(&down).expect("serialises"),
        r#"{"name":"database","kind":"postgres","required":false,"from":"up","to":"down","reason":"refused","message":"connection refused","previous_for_ms":10000}"#
    );
    check.set(|| ready(Ok(Outcome::degraded(Reason::Saturated))));
    run(&health).await;
    let back = published(&mut transitions).await.expect("it recovered");
    assert_eq!((back.from, back.to), (Status::Down, Status::Degraded));
    let found = (back.reason, back.previous_for);
    assert_eq!(found, (Some(Reason::Saturated), 4 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_far_behind_gets_each_last_transition() {
    let (often, rare) = (Scripted::new(), Scripted::new());
    let builder = Health::builder().check("often", often.check());
    let health = builder.check("rare", rare.check()).build();
    run(&health).await;
    let mut slow = health.subscribe();
    rare.set(refused);
    run(&health).await;
    for number in 0..301 {
        often.set([refused, up][number % 2]);
        run(&health).await;
    }
    assert_eq!(received(&mut slow).await, [down("rare"), down("often")]);
}

#[tokio::test(start_paused = true)]
async fn checks_run_while_a_subscriber_waits() {
    let check = Scripted::new();
    let health = checked(check.check());
    let mut transitions = health.subscribe();
    // Nothing else calls the handle.
    for status in [Status::Up, Status::Down, Status::Up] {
        check.set(if status == Status::Up { up } else { refused });
        let start = Instant::now();
        let next = timeout(60 * SECOND, transitions.recv()).await;
        assert!(start.elapsed() <= SECOND);
        let next = next.expect("checks run").expect("a handle lives");
        assert_eq!(next.to, status);
    }
    drop(transitions);
    sleep(2 * SECOND).await;
    check.set(refused);
    sleep(60 * SECOND).await;
    assert_eq!(health.snapshot().status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_the_last_handle() {
    let builder = Health::builder().check("a", up);
    let hanging = async || pending().await;
    let health = builder.check("hanging", hanging).build();
    let mut transitions = health.subscribe();
    // A receive that is cancelled loses nothing: no run has ended.
    assert!(published(&mut transitions).await.is_none());
    // A run is in flight when the handle is dropped.
    assert!(timeout(MS, health.report()).await.is_err());
    drop(health);
    for expected in [Some(Status::Up), None, None] {
        let next = transitions.recv().await;
        assert_eq!(next.map(|transition| transition.to), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn transitions_of_a_removed_dependency_are_dropped() {
    let check = Scripted::new();
    let health = Health::builder().build();
    let mut transitions = health.subscribe();
    for _ in 0..2 {
        check.set(refused);
        let tenant = Dependency::new("tenant", check.check());
        health.add(tenant).expect("a new name");
        run(&health).await;
        // It has no past.
        let first = published(&mut transitions).await.expect("a first result");
        assert_eq!((first.from, first.to), (Status::Unknown, Status::Down));
        check.set(up);
        run(&health).await;
        // Published, and not received yet.
        assert!(health.remove("tenant"));
        assert!(published(&mut transitions).await.is_none());
    }
    // A run that ends after the removal is not published either.
    let tenant = Dependency::new("tenant", slow(100 * MS));
    health.add(tenant).expect("a new name");
    assert!(timeout(MS, health.report()).await.is_err());
    assert!(health.remove("tenant"));
    assert!(timeout(SECOND, transitions.recv()).await.is_err());
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_transition_is_logged_once_with_its_cause() {
    let (mut log, _guard) = super::log::Log::start();
    let check = Scripted::new();
    let health = health(Dependency::new("database", check.check()));
    let unreachable = || {
        let cause = std::io::Error::other("postgres://app:hunter2@db:5432/app: no answer");
        ready(Err(Failure::new(Reason::Unreachable).caused_by(cause)))
    };
    let cause = r#"dependency="database" from=up to=down reason="unreachable" cause="#;
    for (result, line) in [
        (up as Run, ("INFO", "database")),
        (unreachable, ("WARN", cause)),
        (up, ("INFO", "outage_ms=6000")),
    ] {
        check.set(result);
        for _ in 0..3 {
            run(&health).await;
        }
        log.assert_lines(&[line]);
    }
}
