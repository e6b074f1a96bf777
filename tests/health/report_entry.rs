//! Facts of a report's entry beside status and reason: the target, past runs, the last success.

use std::time::Duration;

use crate::helpers::{layer_client::LayerClient, switch::Switch};
use tokio::time::advance;
use tower_health::{
    Access, Check, CheckResult, Dependency, Health, HealthLayer, Outcome, Reason, Status,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_entry_knows_when_it_was_up_last() {
    let switch = Switch::off();
    let health = Health::builder().add(switch.dependency("a")).build();
    let face = LayerClient::new(&health);
    let before = health.snapshot().entries.remove(0);
    assert_eq!((before.last_up, before.never_up), (None, false));

    let (_, never) = face.json("/health/a").await;
    assert_eq!(never["never_up"], true);
    assert_eq!(never["last_up_ms"], serde_json::Value::Null);

    switch.set(true);
    advance(SECOND).await;
    let (_, up) = face.json("/health/a").await;
    assert_eq!(up["status"], "up");
    assert!(
        up.get("last_up_ms").is_none() && up.get("never_up").is_none(),
        "{up}"
    );

    switch.set(false);
    for seconds in 1..4 {
        advance(SECOND).await;
        let (_, down) = face.json("/health/a").await;
        assert_eq!(down["last_up_ms"], seconds * 1_000, "{down}");
        assert!(down.get("never_up").is_none(), "{down}");
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

struct Placed(&'static str);

impl Check for Placed {
    async fn check(&self) -> CheckResult {
        Ok(Outcome::up())
    }

    fn target(&self) -> Option<String> {
        Some(self.0.to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn details_show_the_target_without_credentials() {
    let table = [
        ("db.internal:5432", "db.internal:5432"),
        ("postgres://app:s3/cret@db:5432", "postgres://***@db:5432"),
        ("host=db\r\npassword = s3cret", "host=db  password = ***"),
    ];
    for (target, shown) in table {
        let health = Health::builder()
            .add(Dependency::new("database", Placed(target)).timeout(SECOND))
            .build();
        let (_, entry) = LayerClient::new(&health).json("/health/database").await;
        assert_eq!(entry["target"], shown);
        assert_eq!(entry["timeout_ms"], 1_000);
        // Set on the dependency, for a check that does not know its target.
        let set = Health::builder()
            .add(Dependency::new("database", async || Ok(Outcome::up())).target(target))
            .build();
        let (_, entry) = LayerClient::new(&set).json("/health/database").await;
        assert_eq!(entry["target"], shown);
        let without = LayerClient(HealthLayer::new(health).details(Access::nobody()));
        let (_, body) = without.get("/health").await;
        assert_eq!(body, r#"{"status":"up"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_the_refresh_period_if_there_is_one() {
    let dependency = || Dependency::new("a", Placed("")).cache_for(3 * SECOND);
    let cached = Health::builder().add(dependency()).build();
    let refreshed = Health::builder()
        .add(dependency())
        .refresh_every(7 * SECOND)
        .build();
    for (health, seconds) in [(cached, 3), (refreshed, 7)] {
        let entry = health.snapshot().entries.remove(0);
        assert_eq!(entry.interval, Some(seconds * SECOND));
    }
}
