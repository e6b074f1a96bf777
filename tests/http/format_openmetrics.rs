//! The OpenMetrics format, read by the reference parser and by a real Prometheus.

use std::{path::Path, process::Stdio};

use axum::Router;
use tokio::{io::AsyncWriteExt, process::Command};
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

use crate::helpers::{layer_client::LayerClient, server::serve_axum};
use crate::support::{MAXIMUM_WAIT, Postgres, Prometheus, wait_until, wheel};

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

/// The strict reference parser of OpenMetrics. It prints one line a sample.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sample.labels.get('check', ''), sample.value, sep='|')
";

async fn samples(text: &str) -> String {
    let mut parser = Command::new(wheel("python3"));
    let parser = parser.args(["-c", PARSER]).kill_on_drop(true);
    let mut child = parser
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/setup.sh installs it");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).await.expect("is read");
    drop(input);
    let output = child.wait_with_output().await.expect("ends");
    assert!(output.status.success(), "{text}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn a_parser_reads_it_with_and_without_details() {
    let postgres = Postgres::start().await;
    for (full, details) in [(true, Access::everybody()), (false, Access::nobody())] {
        let layer = HealthLayer::new(health(&postgres)).details(details);
        let layer = layer.path_with_format("/metrics", Probe::Full, Format::openmetrics());
        let client = LayerClient(layer);
        let found = samples(&client.get("/metrics").await.1).await;
        let mut lines = found.lines();
        assert!(
            lines.all(|line| line.starts_with("gauge|health_")),
            "{found}"
        );
        let hostile = format!("gauge|health_check_status|{HOSTILE}|1");
        assert_eq!(found.contains(&hostile), full, "{found}");
        assert!(found.contains("gauge|health_status||0.5"), "{found}");
        assert_eq!(found.lines().count() > 1, full, "{found}");
        let one = client.get("/metrics/database").await.1;
        if full {
            assert!(samples(&one).await.contains("|database|1"), "{one}");
        } else {
            assert_eq!(one, "inner");
        }
    }
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
    postgres.kill();
    becomes("health_check_status{check=\"database\"}", "0").await;
    becomes("health_status", "0").await;
    // Any other code than 200 would discard the scrape.
    becomes("up{job=\"app\"}", "1").await;
    becomes("count(health_check_duration_seconds > 0)", "3").await;
}
