//! The exporter example, scraped by a real Prometheus with the rules: what dashboard and alerts ask for is there.

use crate::helpers::dashboard;
use std::{
    collections::BTreeSet,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    MAXIMUM_WAIT, Postgres, Program, Prometheus, Redis, becomes, get, wait_until,
};
use http::StatusCode;

const RULES: &str = "examples/deploy/prometheus/health.rules.yml";

struct Exporter {
    _program: Program,
    app: String,
    metrics: String,
}

async fn exporter(postgres: &Postgres, redis: &Redis) -> Exporter {
    let mut program = Program::example(
        "exporter",
        &[
            ("ADDR", "127.0.0.1:0"),
            ("METRICS_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", &postgres.url()),
            ("REDIS_URL", &redis.url()),
        ],
    );
    let app = program.says("/health").await;
    let app = app.trim_end_matches("/health").to_owned();
    let metrics = program.says("/metrics").await;
    Exporter {
        _program: program,
        app,
        metrics,
    }
}

/// Each `health_…` with the selector behind it.
fn selectors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("health_") {
        if text[..at].ends_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &text[at..];
        let name = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(rest.len());
        let end = match rest[name..].starts_with('{') {
            true => rest.find('}').expect("a selector ends") + 1,
            false => name,
        };
        found.insert(rest[..end].to_owned());
    }
    found
}

/// The expressions of the rules: the text after `expr:`, on that line or indented below it.
fn rule_expressions() -> String {
    let text = include_str!("../../examples/deploy/prometheus/health.rules.yml");
    let mut inside = false;
    let mut found = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("expr:") {
            inside = true;
        } else if !line.starts_with("          ") {
            inside = false;
        }
        if inside {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_has_every_series_of_the_rules_and_alerts() {
    let (postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    let exporter = exporter(&postgres, &redis).await;
    let target = exporter.metrics.trim_start_matches("http://");
    let target = target.trim_end_matches("/metrics");
    let prometheus = Prometheus::start(target, Path::new(RULES)).await;
    becomes(&format!("{}/readyz", exporter.app), StatusCode::OK).await;

    let rules = selectors(&rule_expressions());
    assert!(rules.len() >= 8, "{rules:?}");
    let shown: BTreeSet<_> = dashboard::queries()
        .iter()
        .flat_map(|q| selectors(q))
        .collect();
    for query in rules.iter().chain(&shown).chain(&dashboard::queries()) {
        wait_until(
            &format!("there is data for {query}"),
            MAXIMUM_WAIT,
            async || {
                // Counters advance only while probes arrive.
                let _ = get(&format!("{}/readyz", exporter.app)).await;
                !prometheus.query(query).await.is_empty()
            },
        )
        .await;
    }
    // Each emitted metric is also used by a rule or the dashboard.
    let (_, text) = get(&exporter.metrics).await;
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().expect("a name");
        assert!(
            shown.iter().any(|selector| selector.starts_with(name)),
            "{name}"
        );
    }

    let alert = async |name: &str, check: &str| {
        let alerts = format!(r#"ALERTS{{alertname="{name}",alertstate="firing",check="{check}"}}"#);
        !prometheus.query(&alerts).await.is_empty()
    };
    assert!(!alert("HealthCheckFailing", "cache").await);
    redis.kill();
    wait_until("the alert fires", MAXIMUM_WAIT, async || {
        alert("HealthCheckFailing", "cache").await
    })
    .await;
    let failures = r#"max_over_time(health_check_consecutive_failures{check="cache"}[1m])"#;
    let seen = prometheus.query(failures).await;
    let seen: f64 = seen[0]["value"][1]
        .as_str()
        .expect("text")
        .parse()
        .expect("a number");
    assert!(seen >= 3.0, "{seen}");
    assert!(!alert("HealthCheckFailing", "database").await);
    redis.restart().await;
    wait_until("it is seen to be up", MAXIMUM_WAIT, async || {
        !prometheus
            .query(r#"health_check_status{check="cache"} == 1"#)
            .await
            .is_empty()
    })
    .await;
    assert!(
        alert("HealthCheckFailing", "cache").await,
        "for two minutes more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scraped_is_what_promtool_finds_good() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    let exporter = exporter(&postgres, &redis).await;
    becomes(&format!("{}/readyz", exporter.app), StatusCode::OK).await;
    let (code, text) = get(&exporter.metrics).await;
    assert_eq!(code, StatusCode::OK);
    assert!(text.contains("health_check_status"), "{text}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by tests/setup.sh");
    let mut input = promtool.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    // The app's own listener does not tell an unauthorized caller.
    let (code, _) = get(&format!("{}/metrics", exporter.app)).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}
