//! The OpenMetrics format, read by two parsers and by a real Prometheus.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use axum::Router;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

use super::server::serve_axum;
use crate::helpers::wire;
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

/// What `command` prints when it reads `text`; it must succeed.
fn output(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/setup.sh installs it");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("is read");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}\n{text}");
    printed
}

/// The strict reference parser of OpenMetrics. It prints one line a sample.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sample.labels.get('check', ''), sample.value, sep='|')
";

#[tokio::test]
async fn two_parsers_read_it_with_and_without_details() {
    let postgres = Postgres::start().await;
    for (full, details) in [(true, Access::everybody()), (false, Access::nobody())] {
        let layer = HealthLayer::new(health(&postgres)).details(details);
        let layer = layer.path_with_format("/metrics", Probe::Full, Format::openmetrics());
        let address = serve_axum(Router::new().layer(layer)).await;
        for path in ["/metrics", "/metrics/database"] {
            let answer = wire::get(address, path).await;
            if !full && path != "/metrics" {
                assert_eq!(answer.code, 404);
                continue;
            }
            assert_eq!(answer.code, 200);
            output(
                Command::new("promtool").args(["check", "metrics"]),
                &answer.body,
            );
            let mut parser = Command::new(wheel("python3"));
            let samples = output(parser.args(["-c", PARSER]), &answer.body);
            let is_ours = |line: &str| line.starts_with("gauge|health_");
            assert!(samples.lines().all(is_ours), "{samples}");
            if path == "/metrics" {
                let hostile = format!("gauge|health_check_status|{HOSTILE}|1");
                assert_eq!(samples.contains(&hostile), full, "{samples}");
                assert!(samples.contains("gauge|health_status||0.5"), "{samples}");
                assert_eq!(samples.lines().count() > 1, full, "{samples}");
            }
        }
    }
}

#[tokio::test]
async fn prometheus_scrapes_an_app_that_is_down() {
    let mut postgres = Postgres::start().await;
    // In every format: the header `accept` of Prometheus must select this one.
    let layer = HealthLayer::new(health(&postgres)).path("/metrics", Probe::Full);
    let router = Router::new().layer(layer.details(Access::everybody()));
    let address = serve_axum(router).await;
    let rules = "examples/deploy/prometheus/health.rules.yml";
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(rules);
    let prometheus = Prometheus::start(&address.to_string(), &rules).await;
    let becomes = async |expression: &str, expected: &str| {
        let what = format!("{expression} is {expected}");
        wait_until(&what, MAXIMUM_WAIT, async || {
            let series = prometheus.query(expression).await;
            series
                .first()
                .is_some_and(|one| one["value"][1] == expected)
        })
        .await;
    };
    becomes("health_check_status{check=\"database\"}", "1").await;
    becomes(
        "health_pool_connections{check=\"database\",state=\"max\"}",
        "3",
    )
    .await;
    becomes("health_status", "0.5").await;
    postgres.kill();
    becomes("health_check_status{check=\"database\"}", "0").await;
    becomes("health_status", "0").await;
    // Any other code than 200 would discard the scrape.
    becomes("up{job=\"app\"}", "1").await;
    becomes("count(health_check_duration_seconds > 0)", "3").await;
}
