//! The OpenMetrics format, read by a real Prometheus.

use std::path::Path;

use axum::Router;
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, report::PoolStats,
};

use crate::helpers::{server::serve_axum, switch::Switch};
use crate::support::{MAXIMUM_WAIT, Prometheus, wait_until};

/// Its name needs every escape of a label.
const HOSTILE: &str = "a\"b\\c {d=\"e\"} 1 # {é}";

#[tokio::test]
async fn prometheus_scrapes_an_app_that_is_down() {
    let switch = Switch::on();
    let health = Health::builder()
        .add(switch.dependency("database"))
        .add(Dependency::new("cache", async || Err(Failure::new(Reason::Timeout))).optional())
        .check(HOSTILE, async || {
            Ok(Outcome::up().pool(PoolStats::new(3, 1, 1)))
        })
        .build();
    // In every format: the header `accept` of Prometheus must select this one.
    let layer = HealthLayer::new(health).path("/metrics", Probe::Full);
    let router = Router::new().layer(layer.details(Access::everybody()));
    let address = serve_axum(router).await.to_string();
    let rules = "examples/deploy/prometheus/health.rules.yml";
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(rules);
    let prometheus = Prometheus::start(&address, &rules).await;
    let becomes = async |expression: &str, expected: &str| {
        let what = format!("{expression} is {expected}");
        wait_until(&what, MAXIMUM_WAIT, async || {
            let series = prometheus.query(expression).await;
            let first = series.first();
            first.is_some_and(|one| one["value"][1] == expected)
        })
        .await;
    };
    becomes("health_check_status{check=\"database\"}", "1").await;
    let max = format!("health_pool_connections{{check={HOSTILE:?},state=\"max\"}}");
    becomes(&max, "3").await;
    becomes("health_status", "0.5").await;
    switch.set(false);
    becomes("health_check_status{check=\"database\"}", "0").await;
    becomes("health_status", "0").await;
    // Any other code than 200 would discard the scrape.
    becomes("up{job=\"app\"}", "1").await;
    becomes("count(health_check_duration_seconds > 0)", "3").await;
}
