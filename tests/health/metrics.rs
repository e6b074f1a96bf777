//! What a recorder of the `metrics` facade receives, as Prometheus would scrape it.

use std::sync::{Arc, OnceLock};

use http::StatusCode;
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::time::{advance, sleep};
use tower_health::{
    Access, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
    metrics::DURATION_BUCKETS, report::PoolStats,
};

use super::fixtures::{MS, SECOND, Scripted, next_status, up};
use crate::helpers::layer_client::LayerClient;

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

    /// The value of `health_check_<name>` for the dependency `database`, with these other labels.
    fn of_check(&self, name: &str, labels: &str) -> Option<f64> {
        self.value(&format!(
            r#"health_check_{name}{{check="database"{labels}}}"#
        ))
    }

    fn runs(&self, outcome: Status) -> Option<f64> {
        self.of_check("runs_total", &format!(r#",outcome="{outcome}""#))
    }

    fn connections(&self) -> [Option<f64>; 4] {
        ["max", "open", "idle", "in_use"].map(|state| {
            let labels = format!(r#"{{check="database",state="{state}"}}"#);
            self.value(&format!("health_pool_connections{labels}"))
        })
    }

    fn probes(&self, probe: &str, code: u16) -> Option<f64> {
        let labels = format!(r#"{{probe="{probe}",code="{code}"}}"#);
        self.value(&format!("health_probe_requests_total{labels}"))
    }
}

fn database(check: &Scripted) -> Dependency {
    Dependency::new("database", check.check())
}

async fn run(health: &Health) {
    next_status(health, Probe::Full).await;
}

type Run = (Status, fn() -> CheckResult);

const UP: Run = (Status::Up, || Ok(Outcome::up()));
const DEGRADED: Run = (Status::Degraded, || {
    Ok(Outcome::degraded(Reason::Saturated))
});
const DOWN: Run = (Status::Down, || Err(Failure::new(Reason::Refused)));

#[tokio::test(start_paused = true)]
async fn each_run_records_status_outcome_and_duration() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let script = Scripted::new();
    let result = script.check();
    let check = move || {
        let result = result();
        async move {
            sleep(20 * MS).await;
            result.await
        }
    };
    let database = Dependency::new("database", check).failure_threshold(3);
    let health = Health::builder().add(database).build();
    assert_eq!(series.0.render(), "", "nothing before a run");
    let outcomes = [Status::Up, Status::Degraded, Status::Down];
    let mut counts = [0.0; 3];
    // The result of each run, the status, and the failures in a row.
    for ((outcome, result), status, failures) in [
        // Below the threshold no status counts: no value, and not 0.
        (DOWN, None, 1.0),
        (DOWN, None, 2.0),
        (UP, Some(1.0), 0.0),
        (DEGRADED, Some(0.5), 0.0),
        (DOWN, Some(0.5), 1.0),
        (DOWN, Some(0.5), 2.0),
        (DOWN, Some(0.0), 3.0),
        (UP, Some(1.0), 0.0),
    ] {
        script.set(result);
        run(&health).await;
        for (count, other) in counts.iter_mut().zip(outcomes) {
            *count += f64::from(u8::from(outcome == other));
        }
        assert_eq!(series.of_check("status", ""), status, "{counts:?}");
        let found = series.of_check("consecutive_failures", "");
        assert_eq!(found, Some(failures), "{counts:?}");
        let found = outcomes.map(|outcome| series.runs(outcome));
        assert_eq!(found, counts.map(Some));
    }
    assert_eq!(series.connections(), [None; 4], "it has no pool");
    let bucket = |bound| series.of_check("duration_seconds_bucket", bound);
    let low = bucket(r#",le="0.01""#);
    assert_eq!((low, bucket(r#",le="0.025""#)), (Some(0.0), Some(8.0)));
    let sum = series.of_check("duration_seconds_sum", "");
    assert!(sum.is_some_and(|sum| (0.16..0.2).contains(&sum)), "{sum:?}");
    let text = series.0.render();
    for name in ["status", "consecutive_failures", "duration_seconds"] {
        assert!(text.contains(&format!("# HELP health_check_{name} ")));
    }
}

#[tokio::test(start_paused = true)]
async fn gauges_of_a_removed_dependency_and_its_pool_are_nan() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let check = Scripted::new();
    let health = Health::builder().add(database(&check)).build();
    let results: [(fn() -> CheckResult, _); 2] = [
        (
            || Ok(Outcome::up().pool(PoolStats::new(10, 8, 5))),
            [10.0, 8.0, 5.0, 3.0],
        ),
        (
            || Err(Failure::new(Reason::Refused).pool(PoolStats::new(10, 0, 0))),
            [10.0, 0.0, 0.0, 0.0],
        ),
    ];
    for (result, connections) in results {
        check.set(result);
        run(&health).await;
        assert_eq!(series.connections(), connections.map(Some));
    }
    assert!(health.remove("database"));
    let gauges = ["status", "consecutive_failures"].map(|name| series.of_check(name, ""));
    for gauge in gauges.into_iter().chain(series.connections()) {
        // No alert compares with it.
        assert!(gauge.is_some_and(f64::is_nan), "{gauge:?}");
    }
    health.add(database(&Scripted::new())).expect("a new name");
    run(&health).await;
    let gauges = ["status", "consecutive_failures"].map(|name| series.of_check(name, ""));
    assert_eq!(gauges, [Some(1.0), Some(0.0)]);
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
    let check = Scripted::new();
    let database = database(&check).group("storage");
    let health = Health::builder().add(database).build();
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
    check.set_up(false);
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
    let health = Health::builder().add(database(&Scripted::new())).build();
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
        assert_eq!(series.runs(Status::Up), Some(count));
        assert_eq!(series.probes("readiness", 200), Some(count));
    }
}

/// A recorder without a size, and its gauge: it removes a dependency when it receives the removal of another one.
struct Remover;

static HANDLE: OnceLock<Health> = OnceLock::new();

impl GaugeFn for Remover {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        if value.is_nan() {
            HANDLE.get().map(|health| health.remove("other"));
        }
    }
}

impl Recorder for Remover {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Self))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Hangs if the recorder is called under a lock.
#[tokio::test(start_paused = true)]
async fn a_recorder_may_remove_dependencies() {
    let builder = Health::builder().add(database(&Scripted::new()));
    let health = HANDLE.get_or_init(|| builder.check("other", up).build());
    let _guard = set_default_local_recorder(&Remover);
    run(health).await;
    assert!(health.remove("database"));
    assert!(health.snapshot().entries.is_empty());
}
