//! What a recorder of the `metrics` facade receives, as Prometheus would scrape it.

use std::{
    future::{Ready, ready},
    sync::OnceLock,
};

use http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::time::advance;
use tower_health::{
    Access, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
    metrics::DURATION_BUCKETS, report::PoolStats,
};

use super::fixtures::{MS, Run, SECOND, Scripted, delayed, health, next_status, refused, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

pub fn recorder() -> (PrometheusRecorder, Series) {
    let duration = Matcher::Full("health_check_duration_seconds".into());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(duration, &DURATION_BUCKETS)
        .expect("buckets")
        .build_recorder();
    let series = Series(recorder.handle());
    (recorder, series)
}

/// What was recorded.
pub struct Series(PrometheusHandle);

impl Series {
    /// The values of the series that start with `prefix`, in the order of their labels.
    pub fn values(&self, prefix: &str) -> Vec<f64> {
        let text = self.0.render();
        let mut lines: Vec<_> = text.lines().filter(|it| it.starts_with(prefix)).collect();
        lines.sort_unstable();
        let values = lines.iter().filter_map(|line| line.rsplit(' ').next());
        values.map(|it| it.parse().expect("a number")).collect()
    }

    fn checks(&self, name: &str) -> Vec<f64> {
        self.values(&format!("health_check_{name}{{"))
    }

    fn probes(&self, probe: &str, code: u16) -> Vec<f64> {
        let labels = format!(r#"{{probe="{probe}",code="{code}"}}"#);
        self.values(&format!("health_probe_requests_total{labels}"))
    }
}

async fn run(health: &Health) {
    next_status(health, Probe::Full).await;
}

fn saturated() -> Ready<CheckResult> {
    let outcome = Outcome::degraded(Reason::Saturated);
    ready(Ok(outcome.pool(PoolStats::new(10, 8, 5))))
}

fn unreachable() -> Ready<CheckResult> {
    let failure = Failure::new(Reason::Unreachable);
    ready(Err(failure.pool(PoolStats::new(10, 0, 0))))
}

#[tokio::test(start_paused = true)]
async fn each_run_is_recorded_until_the_dependency_is_removed() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let script = Scripted::new();
    let a = || Dependency::new("a", delayed(20 * MS, script.check()));
    let health = health(a().failure_threshold(2));
    assert_eq!(series.0.render(), "", "nothing before a run");
    // The result of each run, the status, the failures in a row, the runs that were degraded, down and up, and the
    // connections of the pool: idle, in use, at most and open. Below the threshold no status counts: no value.
    #[rustfmt::skip] // One row, one line.
    let table = [
        (refused as Run, &[][..], 1.0, [0.0, 1.0, 0.0], &[][..]),
        (up, &[1.0], 0.0, [0.0, 1.0, 1.0], &[]),
        (saturated, &[0.5], 0.0, [1.0, 1.0, 1.0], &[5.0, 3.0, 10.0, 8.0]),
        (unreachable, &[0.5], 1.0, [1.0, 2.0, 1.0], &[0.0, 0.0, 10.0, 0.0]),
        (unreachable, &[0.0], 2.0, [1.0, 3.0, 1.0], &[0.0, 0.0, 10.0, 0.0]),
    ];
    for (result, status, failures, runs, pool) in table {
        script.set(result);
        run(&health).await;
        assert_eq!(series.checks("status"), status, "{runs:?}");
        assert_eq!(series.checks("consecutive_failures"), [failures]);
        assert_eq!(series.checks("runs_total"), runs);
        assert_eq!(series.values("health_pool_connections{"), pool);
    }
    let sum = series.checks("duration_seconds_sum")[0];
    assert!((0.1..0.125).contains(&sum), "{sum}");
    let text = series.0.render();
    for part in [
        "# HELP health_check_status ",
        "# HELP health_check_consecutive_failures ",
        "# HELP health_check_duration_seconds ",
        r#"health_check_status{check="a"} 0"#,
        r#"health_check_consecutive_failures{check="a"} 2"#,
        r#"health_check_runs_total{check="a",outcome="degraded"} 1"#,
        r#"health_check_duration_seconds_bucket{check="a",le="0.01"} 0"#,
        r#"health_check_duration_seconds_bucket{check="a",le="0.025"} 5"#,
        r#"health_pool_connections{check="a",state="in_use"} 0"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    assert!(health.remove("a"));
    // No alert compares with it.
    let mut gauges = series.values("health_pool_connections{");
    gauges.extend(series.checks("status"));
    gauges.extend(series.checks("consecutive_failures"));
    assert!(gauges.iter().all(|gauge| gauge.is_nan()), "{gauges:?}");
    script.set(up);
    health.add(a()).expect("a new name");
    run(&health).await;
    assert_eq!(series.checks("status"), [1.0]);
    // A dependency without a run has no series, and gets none when it is removed.
    let without_run = Dependency::new("without-run", up);
    health.add(without_run).expect("a new name");
    assert!(health.remove("without-run"));
    assert!(!series.0.render().contains("without-run"));
}

#[tokio::test(start_paused = true)]
async fn only_answered_probes_are_counted_by_probe_and_code() {
    let (recorder, series) = recorder();
    let switch = Switch::on();
    let health = health(Dependency::new("a", switch.check()).group("storage"));
    let denied = HealthLayer::new(health.clone()).allow(Access::nobody());
    let forwarded = LayerClient(denied.clone().forward_denied());
    let layer = HealthLayer::new(health).path("/storage", Probe::group("storage"));
    let client = LayerClient(layer.status_code(Status::Down, StatusCode::IM_A_TEAPOT));
    // A recorder that is installed late receives what follows.
    assert_eq!(client.code("/readyz").await, 200);
    let _guard = set_default_local_recorder(&recorder);
    advance(2 * SECOND).await;
    // The first request waits for its run, the others are answered from the cache.
    for (count, target, probe) in [
        (1.0, "/readyz", "readiness"),
        (2.0, "/readyz", "readiness"),
        (1.0, "/livez?x=1", "liveness"),
        (1.0, "/storage", "storage"),
    ] {
        assert_eq!(client.code(target).await, 200);
        assert_eq!(series.probes(probe, 200), [count]);
    }
    // Registered with the first request.
    assert_eq!(series.probes("readiness", 503), [0.0]);
    switch.set(false);
    advance(2 * SECOND).await;
    for (client, method, expected) in [
        (&client, "GET", 418),
        (&client, "POST", 405),
        (&LayerClient(denied), "GET", 403),
    ] {
        assert_eq!(client.call(method, "/health").await.0, expected);
        assert_eq!(series.probes("full", expected), [1.0]);
    }
    // What passes through to the inner service adds no series.
    let lines = || series.0.render().lines().count();
    let before = lines();
    for (client, target) in [(&client, "/health/made-up"), (&forwarded, "/health")] {
        assert_eq!(client.code(target).await, 200, "{target}");
    }
    assert_eq!(lines(), before);
}

/// A recorder that changes the dependencies whenever a gauge is set.
struct Remover;

static HANDLE: OnceLock<Health> = OnceLock::new();

impl Recorder for Remover {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        HANDLE.get().map(|health| health.remove("other"));
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Hangs if the recorder is called under a lock.
#[tokio::test(start_paused = true)]
async fn a_recorder_may_remove_dependencies() {
    let builder = Health::builder().check("a", up).check("other", up);
    let health = HANDLE.get_or_init(|| builder.build());
    let _guard = set_default_local_recorder(&Remover);
    run(health).await;
    assert!(health.remove("a"));
    assert!(health.snapshot().entries.is_empty());
}
