//! The exporter example, scraped by a real Prometheus with the rules: what dashboard and alerts ask for is there.

use std::{collections::BTreeSet, path::Path};

use http::StatusCode;

use crate::{
    helpers::dashboard,
    support::{MAXIMUM_WAIT, Postgres, Program, Prometheus, Redis, becomes, get, wait_until},
};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deploy/prometheus");
const RULES: &str = include_str!("../../examples/deploy/prometheus/health.rules.yml");

/// Each `health_…` in an expression of the rules, with the selector behind it.
fn selectors_of_the_rules() -> BTreeSet<String> {
    let metric = |word: &&str| word.starts_with("health_") && !word.contains(':');
    let words = RULES.split([' ', '(', ')', '[', '\n']);
    words.filter(metric).map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_has_every_series_of_the_rules_and_alerts() {
    let (postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    let variables = [
        ("ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", &postgres.url()),
        ("REDIS_URL", &redis.url()),
    ];
    let mut exporter = Program::example("exporter", &variables);
    let readiness = exporter.says("/health").await.replace("health", "readyz");
    let metrics = exporter.says("/metrics").await;
    let target = metrics.trim_start_matches("http://");
    let target = target.trim_end_matches("/metrics");
    let rules = Path::new(DIRECTORY).join("health.rules.yml");
    let prometheus = Prometheus::start(target, &rules).await;
    becomes(&readiness, StatusCode::OK).await;

    let rules = selectors_of_the_rules();
    assert!(rules.len() >= 8, "{rules:?}");
    let shown = dashboard::queries();
    for query in rules.iter().chain(&shown) {
        let what = format!("there is data for {query}");
        wait_until(&what, MAXIMUM_WAIT, async || {
            // Counters advance only while probes arrive.
            let _ = get(&readiness).await;
            !prometheus.query(query).await.is_empty()
        })
        .await;
    }

    let alert = async |check: &str| {
        let alerts = format!(
            r#"ALERTS{{alertname="HealthCheckFailing",alertstate="firing",check="{check}"}}"#
        );
        !prometheus.query(&alerts).await.is_empty()
    };
    assert!(!alert("cache").await);
    redis.kill();
    wait_until("the alert fires", MAXIMUM_WAIT, async || {
        alert("cache").await
    })
    .await;
    let failures = r#"max_over_time(health_check_consecutive_failures{check="cache"}[1m]) >= 3"#;
    assert!(!prometheus.query(failures).await.is_empty());
    assert!(!alert("database").await);
    redis.restart().await;
    let is_up = r#"health_check_status{check="cache"} == 1"#;
    wait_until("it is seen to be up", MAXIMUM_WAIT, async || {
        !prometheus.query(is_up).await.is_empty()
    })
    .await;
    assert!(alert("cache").await, "for two minutes more");
}
