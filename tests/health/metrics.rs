//! What a recorder of the `metrics` facade receives, as Prometheus would scrape it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
    metrics::DURATION_BUCKETS, report::PoolStats,
};

use super::fixtures::{MS, SECOND, up};
use crate::support::MAXIMUM_WAIT;

fn recorder() -> (PrometheusRecorder, Series) {
    let duration = Matcher::Full("health_check_duration_seconds".into());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(duration, &DURATION_BUCKETS)
        .expect("buckets")
        .build_recorder();
    let series = Series(recorder.handle());
    (recorder, series)
}

/// What was recorded.
struct Series(PrometheusHandle);

impl Series {
    /// The value of `series`, such as `name{label="value"}`.
    fn value(&self, series: &str) -> Option<f64> {
        self.0.render().lines().find_map(|line| {
            let value = line.strip_prefix(series)?.strip_prefix(' ')?;
            Some(value.parse().expect("a number"))
        })
    }

    /// The value of `name` for the dependency `database`.
    fn of_check(&self, name: &str) -> Option<f64> {
        self.value(&format!(r#"{name}{{check="database"}}"#))
    }

    fn runs(&self, outcome: &str) -> Option<f64> {
        let labels = format!(r#"{{check="database",outcome="{outcome}"}}"#);
        self.value(&format!("health_check_runs_total{labels}"))
    }

    fn probes(&self, probe: &str, code: u16) -> Option<f64> {
        let labels = format!(r#"{{probe="{probe}",code="{code}"}}"#);
        self.value(&format!("health_probe_requests_total{labels}"))
    }

    /// All lines: the exporter has no order.
    fn lines(&self) -> BTreeSet<String> {
        self.0.render().lines().map(ToOwned::to_owned).collect()
    }
}

/// A check with these results, one per run; then up. Each run takes 20 ms.
fn scripted(results: impl IntoIterator<Item = CheckResult>) -> Dependency {
    let results: Vec<_> = results.into_iter().collect();
    let left = Mutex::new(results.into_iter());
    Dependency::new("database", move || {
        let next = left.lock().expect("no panic under it").next();
        async move {
            sleep(20 * MS).await;
            next.unwrap_or_else(|| Ok(Outcome::up()))
        }
    })
}

async fn run(health: &Health) -> Status {
    advance(2 * SECOND).await;
    health.report().await.status
}

fn down() -> CheckResult {
    Err(Failure::new(Reason::Refused))
}

#[tokio::test(start_paused = true)]
async fn each_run_records_status_outcome_and_duration() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let degraded = Ok(Outcome::degraded(Reason::Saturated));
    let script = [Ok(Outcome::up()), degraded, down(), down()];
    let health = Health::builder().add(scripted(script)).build();
    assert_eq!(series.0.render(), "", "nothing before a run");
    let steps = [
        (1.0, 0.0, [1.0, 0.0, 0.0]),
        (0.5, 0.0, [1.0, 1.0, 0.0]),
        (0.0, 1.0, [1.0, 1.0, 1.0]),
        (0.0, 2.0, [1.0, 1.0, 2.0]),
        (1.0, 0.0, [2.0, 1.0, 2.0]),
    ];
    for (number, (status, failures, outcomes)) in (1..).zip(steps) {
        run(&health).await;
        for (name, expected) in [
            ("health_check_status", status),
            ("health_check_consecutive_failures", failures),
            ("health_check_duration_seconds_count", f64::from(number)),
        ] {
            let found = series.of_check(name);
            assert_eq!(found, Some(expected), "run {number}: {name}");
        }
        let found = ["up", "degraded", "down"].map(|outcome| series.runs(outcome));
        assert_eq!(found, outcomes.map(Some), "run {number}");
    }
    let sum = series.of_check("health_check_duration_seconds_sum");
    assert!((0.09..0.15).contains(&sum.expect("a sum")), "{sum:?}");
    let bucket = |bound: &str| {
        let labels = format!(r#"{{check="database",le="{bound}"}}"#);
        series.value(&format!("health_check_duration_seconds_bucket{labels}"))
    };
    assert_eq!((bucket("0.01"), bucket("0.025")), (Some(0.0), Some(5.0)));
    let text = series.0.render();
    for (name, kind) in [
        ("health_check_status", "gauge"),
        ("health_check_consecutive_failures", "gauge"),
        ("health_check_duration_seconds", "histogram"),
        ("health_check_runs_total", "counter"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}")), "{text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{text}");
    }
    assert!(!text.contains("health_pool_connections"), "no pool: {text}");
}

#[tokio::test(start_paused = true)]
async fn the_status_follows_the_thresholds_and_the_outcome_does_not() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let script = [down(), down(), Ok(Outcome::up()), down(), down(), down()];
    let health = Health::builder()
        .add(scripted(script).failure_threshold(3))
        .build();
    let up = Some(1.0);
    for (number, expected) in (1..).zip([
        // Below the threshold no status counts: no value, and not 0.
        (None, Some(1.0), Some(1.0)),
        (None, Some(2.0), Some(2.0)),
        (up, Some(0.0), Some(2.0)),
        (up, Some(1.0), Some(3.0)),
        (up, Some(2.0), Some(4.0)),
        (Some(0.0), Some(3.0), Some(5.0)),
    ]) {
        run(&health).await;
        let status = series.of_check("health_check_status");
        let failures = series.of_check("health_check_consecutive_failures");
        let found = (status, failures, series.runs("down"));
        assert_eq!(found, expected, "run {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_records_its_connections_also_when_it_is_down() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let script = [
        Ok(Outcome::up().pool(PoolStats::new(10, 8, 5))),
        Err(Failure::new(Reason::Refused).pool(PoolStats::new(10, 0, 0))),
    ];
    let health = Health::builder().add(scripted(script)).build();
    for expected in [[10.0, 8.0, 5.0, 3.0], [10.0, 0.0, 0.0, 0.0]] {
        run(&health).await;
        let found = ["max", "open", "idle", "in_use"].map(|state| {
            let labels = format!(r#"{{check="database",state="{state}"}}"#);
            series.value(&format!("health_pool_connections{labels}"))
        });
        assert_eq!(found, expected.map(Some));
    }
}

async fn code(layer: &HealthLayer, method: Method, target: &str) -> u16 {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner")))
    });
    let request = Request::builder().method(method).uri(target).body(());
    let response = layer.layer(inner).oneshot(request.expect("valid")).await;
    response.expect("infallible").status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn only_answered_probes_are_counted_by_probe_and_code() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let database = scripted([Ok(Outcome::up()), down()]).group("storage");
    let health = Health::builder().add(database).build();
    let layer = HealthLayer::new(health.clone())
        .path("/storage", Probe::group("storage"))
        .status_code(Status::Down, http::StatusCode::IM_A_TEAPOT);
    let denied = HealthLayer::new(health).allow(Access::nobody());
    let forwarded = denied.clone().forward_denied();

    // The first request waits for its run, the others are answered from the cache.
    for _ in 0..3 {
        assert_eq!(code(&layer, Method::GET, "/readyz").await, 200);
    }
    assert_eq!(series.probes("readiness", 200), Some(3.0));
    let unready = series.probes("readiness", 503);
    assert_eq!(unready, Some(0.0), "registered with the first request");
    assert_eq!(code(&layer, Method::HEAD, "/livez?x=1").await, 200);
    assert_eq!(series.probes("liveness", 200), Some(1.0));
    assert_eq!(code(&layer, Method::GET, "/storage").await, 200);
    assert_eq!(series.probes("storage", 200), Some(1.0));
    advance(2 * SECOND).await;
    for (layer, method, expected) in [
        (&layer, Method::GET, 418),
        (&layer, Method::POST, 405),
        (&denied, Method::GET, 403),
    ] {
        assert_eq!(code(layer, method, "/health").await, expected);
        assert_eq!(series.probes("full", expected), Some(1.0));
    }
    // What passes through to the inner service adds no series.
    let before = series.lines();
    for (layer, target) in [
        (&layer, "/health/database"),
        (&layer, "/health/made-up"),
        (&layer, "/health/x%22y"),
        (&layer, "/"),
        (&layer, "/readyz/"),
        (&forwarded, "/health"),
    ] {
        assert_eq!(code(layer, Method::GET, target).await, 200, "{target}");
    }
    assert_eq!(series.lines(), before);
}

thread_local! {
    static RECORDER: RefCell<Option<PrometheusRecorder>> = const { RefCell::new(None) };
    static GAUGE: RefCell<Option<Gauge>> = const { RefCell::new(None) };
}

/// A recorder without a size: it keeps its numbers in the variables of its thread.
struct Unsized;

impl Unsized {
    fn with<T>(&self, register: impl FnOnce(&PrometheusRecorder) -> T) -> T {
        RECORDER.with_borrow(|recorder| register(recorder.as_ref().expect("set by the test")))
    }
}

impl Recorder for Unsized {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.with(|recorder| recorder.register_counter(key, metadata))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let gauge = GAUGE.with_borrow(Clone::clone);
        gauge.unwrap_or_else(|| self.with(|recorder| recorder.register_gauge(key, metadata)))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.with(|recorder| recorder.register_histogram(key, metadata))
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_recorder_without_a_size_receives_what_follows() {
    let health = Health::builder().add(scripted([])).build();
    let layer = HealthLayer::new(health.clone());
    let (recorder, series) = recorder();
    RECORDER.set(Some(recorder));
    let probe = async || {
        run(&health).await;
        assert_eq!(code(&layer, Method::GET, "/readyz").await, 200);
    };
    probe().await;
    let _guard = set_default_local_recorder(&Unsized);
    for count in [1.0, 2.0] {
        probe().await;
        assert_eq!(series.runs("up"), Some(count));
        assert_eq!(series.probes("readiness", 200), Some(count));
    }
}

#[tokio::test(start_paused = true)]
async fn the_gauges_of_a_removed_dependency_are_nan() {
    let (recorder, series) = recorder();
    let _guard = set_default_local_recorder(&recorder);
    let health = Health::builder().add(scripted([down()])).build();
    let gauges = || {
        ["health_check_status", "health_check_consecutive_failures"]
            .map(|name| series.of_check(name))
    };
    run(&health).await;
    assert_eq!(gauges(), [Some(0.0), Some(1.0)]);
    assert!(health.remove("database"));
    for gauge in gauges() {
        // No alert compares with it.
        assert!(gauge.is_some_and(f64::is_nan), "{gauge:?}");
    }
    health.add(scripted([])).expect("a new name");
    run(&health).await;
    assert_eq!(gauges(), [Some(1.0), Some(0.0)]);
    // A dependency without a run has no series, and gets none when it is removed.
    let without_run = Dependency::new("without-run", up);
    health.add(without_run).expect("a new name");
    assert!(health.remove("without-run"));
    assert!(!series.0.render().contains("without-run"));
}

/// A gauge that removes a dependency while it receives the removal of another one.
struct Remover {
    health: Health,
    is_blocked: AtomicBool,
}

impl GaugeFn for Remover {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        if !value.is_nan() {
            return;
        }
        let (health, (done, is_done)) = (self.health.clone(), channel());
        // On another thread: a deadlock must not hang the test.
        thread::spawn(move || done.send(health.remove("other")));
        let is_blocked = is_done.recv_timeout(MAXIMUM_WAIT).is_err();
        self.is_blocked.store(is_blocked, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_may_remove_dependencies() {
    let health = Health::builder()
        .add(scripted([]))
        .check("other", up)
        .build();
    let remover = Arc::new(Remover {
        health: health.clone(),
        is_blocked: AtomicBool::new(false),
    });
    RECORDER.set(Some(recorder().0));
    GAUGE.set(Some(Gauge::from_arc(remover.clone())));
    let _guard = set_default_local_recorder(&Unsized);
    run(&health).await;
    assert!(health.remove("database"));
    assert!(!remover.is_blocked.load(Ordering::SeqCst));
    assert!(health.snapshot().entries.is_empty());
}
