//! The OpenMetrics format, read by a real Prometheus.

use std::path::Path;

use axum::Router;
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

use crate::helpers::server::serve_axum;
use crate::support::{MAXIMUM_WAIT, Postgres, Prometheus, wait_until};

/// Its name needs every escape of a label.
const HOSTILE: &str = "a\"b\\c {d=\"e\"} 1 # {é}";

/// An app with a pool, a failing dependency, and a hostile name.
fn health(postgres: &Postgres) -> Health {
    let database = checks::postgres(postgres.pool(3));
    Health::builder()
        .check("database", database)
        .add(Dependency::new("cache", async || Err(Failure::new(Reason::Timeout))).optional())
        .check(HOSTILE, async || Ok(Outcome::up()))
        .build()
}

#[tokio::test]
async fn prometheus_scrapes_an_app_that_is_down() {
    let mut postgres = Postgres::start().await;
    // In every format: the header `accept` of Prometheus must select this one.
    let layer = HealthLayer::new(health(&postgres)).path("/metrics", Probe::Full);
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
    let max = "health_pool_connections{check=\"database\",state=\"max\"}";
    becomes("health_check_status{check=\"database\"}", "1").await;
    becomes(max, "3").await;
    becomes("health_status", "0.5").await;
    let hostile = format!("health_check_status{{check={HOSTILE:?}}}");
    becomes(&hostile, "1").await;
    postgres.kill();
    becomes("health_check_status{check=\"database\"}", "0").await;
    becomes("health_status", "0").await;
    // Any other code than 200 would discard the scrape.
    becomes("up{job=\"app\"}", "1").await;
    becomes("count(health_check_duration_seconds > 0)", "3").await;
}
