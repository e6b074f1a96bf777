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

use super::fixtures::{
    MS, Run, SECOND, Scripted, checked, delayed, health, next_status, refused, up,
};
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
    /// The value of `series`, such as `name{label="value"}`.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.0.render().lines().find_map(|line| {
            let value = line.strip_prefix(series)?.strip_prefix(' ')?;
            Some(value.parse().expect("a number"))
        })
    }

    /// The value of `health_<name>` for the check `a`, with these other labels.
    fn of_check(&self, name: &str, labels: &str) -> Option<f64> {
        self.value(&format!(r#"health_{name}{{check="a"{labels}}}"#))
    }

    fn gauges(&self) -> [Option<f64>; 2] {
        ["status", "consecutive_failures"].map(|name| self.of_check(&format!("check_{name}"), ""))
    }

    fn runs(&self) -> [Option<f64>; 3] {
        [Status::Up, Status::Degraded, Status::Down]
            .map(|outcome| self.of_check("check_runs_total", &format!(r#",outcome="{outcome}""#)))
    }

    fn connections(&self) -> [Option<f64>; 4] {
        ["max", "open", "idle", "in_use"]
            .map(|state| self.of_check("pool_connections", &format!(r#",state="{state}""#)))
    }

    fn probes(&self, probe: &str, code: u16) -> Option<f64> {
        let labels = format!(r#"{{probe="{probe}",code="{code}"}}"#);
        self.value(&format!("health_probe_requests_total{labels}"))
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
    let (full, empty) = (Some([10.0, 8.0, 5.0, 3.0]), Some([10.0, 0.0, 0.0, 0.0]));
    // The result of each run, the status, the failures in a row, the runs by outcome, and the pool if there is one.
    for (result, status, failures, runs, pool) in [
        // Below the threshold no status counts: no value, and not 0.
        (refused as Run, None, 1.0, [0.0, 0.0, 1.0], None),
        (up, Some(1.0), 0.0, [1.0, 0.0, 1.0], None),
        (saturated, Some(0.5), 0.0, [1.0, 1.0, 1.0], full),
        (unreachable, Some(0.5), 1.0, [1.0, 1.0, 2.0], empty),
        (unreachable, Some(0.0), 2.0, [1.0, 1.0, 3.0], empty),
    ] {
        script.set(result);
        run(&health).await;
        assert_eq!(series.gauges(), [status, Some(failures)], "{runs:?}");
        assert_eq!(series.runs(), runs.map(Some));
        let pool = pool.map_or([None; 4], |pool| pool.map(Some));
        assert_eq!(series.connections(), pool, "{runs:?}");
    }
    let bucket = |bound| series.of_check("check_duration_seconds_bucket", bound);
    let low = bucket(r#",le="0.01""#);
    assert_eq!((low, bucket(r#",le="0.025""#)), (Some(0.0), Some(5.0)));
    let sum = series.of_check("check_duration_seconds_sum", "");
    let sum = sum.expect("recorded");
    assert!((0.1..0.125).contains(&sum), "{sum}");
    let text = series.0.render();
    for name in ["status", "consecutive_failures", "duration_seconds"] {
        assert!(text.contains(&format!("# HELP health_check_{name} ")));
    }

    assert!(health.remove("a"));
    for gauge in series.gauges().into_iter().chain(series.connections()) {
        // No alert compares with it.
        assert!(gauge.is_some_and(f64::is_nan), "{gauge:?}");
    }
    script.set(up);
    health.add(a()).expect("a new name");
    run(&health).await;
    assert_eq!(series.gauges(), [Some(1.0), Some(0.0)]);
    // A dependency without a run has no series, and gets none when it is removed.
    let without_run = Dependency::new("without-run", up);
    health.add(without_run).expect("a new name");
    assert!(health.remove("without-run"));
    assert!(!series.0.render().contains("without-run"));
}

#[tokio::test(start_paused = true)]
async fn only_answered_probes_are_counted_by_probe_and_code() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let switch = Switch::on();
    let health = health(Dependency::new("a", switch.check()).group("storage"));
    let denied = HealthLayer::new(health.clone()).allow(Access::nobody());
    let forwarded = LayerClient(denied.clone().forward_denied());
    let layer = HealthLayer::new(health).path("/storage", Probe::group("storage"));
    let client = LayerClient(layer.status_code(Status::Down, StatusCode::IM_A_TEAPOT));
    // The first request waits for its run, the others are answered from the cache.
    for (count, method, target, probe) in [
        (1.0, "GET", "/readyz", "readiness"),
        (2.0, "GET", "/readyz", "readiness"),
        (1.0, "HEAD", "/livez?x=1", "liveness"),
        (1.0, "GET", "/storage", "storage"),
    ] {
        assert_eq!(client.call(method, target).await.0, 200);
        assert_eq!(series.probes(probe, 200), Some(count));
    }
    let unready = series.probes("readiness", 503);
    assert_eq!(unready, Some(0.0), "registered with the first request");
    switch.set(false);
    advance(2 * SECOND).await;
    for (client, method, expected) in [
        (&client, "GET", 418),
        (&client, "POST", 405),
        (&LayerClient(denied), "GET", 403),
    ] {
        assert_eq!(client.call(method, "/health").await.0, expected);
        assert_eq!(series.probes("full", expected), Some(1.0));
    }
    // What passes through to the inner service adds no series.
    let lines = || series.0.render().lines().count();
    let before = lines();
    for (client, target) in [
        (&client, "/health/made-up"),
        (&client, "/readyz/"),
        (&forwarded, "/health"),
    ] {
        assert_eq!(client.code(target).await, 200, "{target}");
    }
    assert_eq!(lines(), before);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_is_installed_late_receives_what_follows() {
    let health = checked(up);
    let client = LayerClient::new(&health);
    let (recorder, series) = recorder();
    let probe = async || {
        run(&health).await;
        assert_eq!(client.code("/readyz").await, 200);
    };
    probe().await;
    let _guard = set_default_local_recorder(&recorder);
    for count in [1.0, 2.0] {
        probe().await;
        assert_eq!(series.runs()[0], Some(count));
        assert_eq!(series.probes("readiness", 200), Some(count));
    }
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
