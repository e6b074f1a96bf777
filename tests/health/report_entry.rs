//! What an entry of a report holds: target, interval, past runs, the last success.

use serde_json::Value;
use tokio::time::advance;
use tower_health::{
    Access, Check, CheckResult, Dependency, Health, HealthLayer, Outcome, Reason, Status,
};

use super::fixtures::{SECOND, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_down_shows_when_it_was_up_last() {
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
}

#[tokio::test(start_paused = true)]
async fn past_runs_keep_their_reasons() {
    let switch = Switch::on();
    let dependency = switch.dependency("a").failure_threshold(2);
    let health = Health::builder().add(dependency).build();
    for on in [true, false, false, true] {
        switch.set(on);
        health.report().await;
        advance(SECOND).await;
    }
    let report = health.snapshot();
    let runs = report.entries[0].history().iter();
    let runs: Vec<_> = runs.map(|run| (run.status, run.reason)).collect();
    let (up, down) = ((Status::Up, None), (Status::Down, Some(Reason::Refused)));
    assert_eq!(runs, [up, down, down, up]);
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
async fn details_show_the_target_without_credentials() {
    for (target, shown) in [
        ("db.internal:5432", "db.internal:5432"),
        ("postgres://app:s3/cret@db:5432", "postgres://***@db:5432"),
        ("host=db\r\npassword = s3cret", "host=db  password = ***"),
    ] {
        for dependency in [
            Dependency::new("database", WithTarget(target)),
            Dependency::new("database", up).target(target),
        ] {
            let dependency = dependency.timeout(SECOND);
            let health = Health::builder().add(dependency).build();
            let (_, entry) = LayerClient::new(&health).json("/health/database").await;
            assert_eq!(entry["target"], shown);
            assert_eq!(entry["timeout_ms"], 1_000);
            let without = LayerClient(HealthLayer::new(health).details(Access::nobody()));
            let (_, body) = without.get("/health").await;
            assert_eq!(body, r#"{"status":"up"}"#);
        }
    }
}

#[test]
fn without_a_refresh_the_interval_is_the_cache_lifetime() {
    let dependency = Dependency::new("a", up).cache_for(3 * SECOND);
    let health = Health::builder().add(dependency).build();
    let entry = health.snapshot().entries.remove(0);
    assert_eq!(entry.interval, Some(3 * SECOND));
}
