//! The OpenMetrics format by those who read it: two parsers and a real Prometheus.

use crate::helpers::wire;
use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{Postgres, Prometheus, wait_until, wheel};
use axum::Router;
use tokio::net::TcpListener;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

const MAXIMUM_WAIT: Duration = Duration::from_secs(20);

/// In this form alone.
fn layer(health: Health) -> HealthLayer {
    HealthLayer::new(health).path_with_format("/metrics", Probe::Full, Format::openmetrics())
}

async fn serve(layer: HealthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = Router::new().layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// An app with a pool, a failing dependency, a name that wants escapes, and one never asked.
fn health(postgres: &Postgres) -> Health {
    let hostile = "a\"b\\c {d=\"e\"} 1 # {é}";
    Health::builder()
        .add(Dependency::new(
            "database",
            checks::postgres(postgres.pool(3)),
        ))
        .add(Dependency::new("cache", async || Err(Failure::new(Reason::Timeout))).optional())
        .check(hostile, async || Ok(Outcome::up()))
        .build()
}

fn accepts(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/setup.sh installs it");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("takes it");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}\n{text}");
    said
}

/// OpenMetrics' own reference parser, which is strict; prints each sample's check.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
try:
    for family in text_string_to_metric_families(sys.stdin.read()):
        for sample in family.samples:
            print(family.type, sample.name, sample.labels.get('check', ''), sample.value, sep='|')
except ValueError as error:
    print('refused:', error)
";

fn parser() -> Command {
    let mut command = Command::new(wheel("python3"));
    command.args(["-c", PARSER]);
    command
}

#[tokio::test]
async fn two_parsers_read_it_whoever_asks() {
    let postgres = Postgres::start().await;
    for (full, details) in [(true, Access::everybody()), (false, Access::nobody())] {
        let address = serve(layer(health(&postgres)).details(details)).await;
        for path in ["/metrics", "/metrics/database"] {
            let answer = wire::get(address, path).await;
            if !full && path != "/metrics" {
                assert_eq!(answer.code, 404);
                continue;
            }
            assert_eq!(answer.code, 200);
            accepts(
                Command::new("promtool").args(["check", "metrics"]),
                &answer.body,
            );
            let samples = accepts(&mut parser(), &answer.body);
            assert!(
                samples
                    .lines()
                    .all(|line| line.starts_with("gauge|health_")),
                "{samples}"
            );
            if path == "/metrics" {
                let hostile = "gauge|health_check_status|a\"b\\c {d=\"e\"} 1 # {é}|1";
                assert_eq!(samples.contains(hostile), full, "{samples}");
                assert!(samples.contains("gauge|health_status||0.5"), "{samples}");
                assert_eq!(samples.lines().count() > 1, full, "{samples}");
            }
        }
    }
}

#[test]
fn a_parser_refuses_what_is_not_openmetrics() {
    for text in [
        "health_status 1\n",
        "# TYPE a gauge\n# TYPE a gauge\na 1\n# EOF\n",
    ] {
        let said = accepts(&mut parser(), text);
        assert!(said.contains("refused: "), "{text}{said}");
    }
}

#[tokio::test]
async fn prometheus_scrapes_an_app_that_is_down() {
    let mut postgres = Postgres::start().await;
    let health = health(&postgres);
    // In any form: what Prometheus itself says that it accepts must lead to this one.
    let layer = HealthLayer::new(health).path("/metrics", Probe::Full);
    let address = serve(layer.details(Access::everybody())).await;
    let rules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/prometheus/health.rules.yml");
    let prometheus = Prometheus::start(&address.to_string(), &rules).await;
    let value = async |expression: &str| {
        let series = prometheus.query(expression).await;
        series
            .first()
            .map(|one| one["value"][1].as_str().expect("a value").to_owned())
    };
    let becomes = async |expression: &str, expected: &str| {
        wait_until(
            &format!("{expression} is {expected}"),
            MAXIMUM_WAIT,
            async || value(expression).await.as_deref() == Some(expected),
        )
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
    // The scrape itself goes on: an answer that is not 200 would lose all of it.
    becomes("up{job=\"app\"}", "1").await;
    becomes("count(health_check_duration_seconds > 0)", "3").await;
}
