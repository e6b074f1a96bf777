//! What a recorder is told of runs and probes, as Prometheus would scrape it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
    metrics::DURATION_BUCKETS, report::PoolStats,
};

fn recorder() -> PrometheusRecorder {
    let duration = Matcher::Full("health_check_duration_seconds".into());
    PrometheusBuilder::new()
        .set_buckets_for_metric(duration, &DURATION_BUCKETS)
        .expect("buckets")
        .build_recorder()
}

/// The value of `series`, as in `name{label="value"}`.
fn value(handle: &PrometheusHandle, series: &str) -> Option<f64> {
    handle.render().lines().find_map(|line| {
        let value = line.strip_prefix(series)?.strip_prefix(' ')?;
        Some(value.parse().expect("a number"))
    })
}

/// Everything, in an order of its own: the exporter has none.
fn lines(handle: &PrometheusHandle) -> BTreeSet<String> {
    handle.render().lines().map(ToOwned::to_owned).collect()
}

/// A check that finds what it is told, one result a run; then up.
fn scripted(results: impl IntoIterator<Item = CheckResult>) -> Dependency {
    let results: Vec<_> = results.into_iter().collect();
    let left = Mutex::new(results.into_iter());
    Dependency::new("database", move || {
        let next = left.lock().expect("no panic under it").next();
        async move {
            // Runs have a length to measure.
            tokio::time::sleep(Duration::from_millis(20)).await;
            next.unwrap_or_else(|| Ok(Outcome::up()))
        }
    })
}

async fn run(health: &Health) -> Status {
    advance(Duration::from_secs(2)).await;
    health.report().await.status
}

fn down() -> CheckResult {
    Err(Failure::new(Reason::Refused))
}

#[tokio::test(start_paused = true)]
async fn each_run_leaves_its_status_outcome_and_duration() {
    let recorder = recorder();
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(&recorder);
    let health = Health::builder()
        .add(scripted([
            Ok(Outcome::up()),
            Ok(Outcome::degraded(Reason::Saturated)),
            down(),
            down(),
        ]))
        .build();
    assert_eq!(handle.render(), "", "nothing before a run");

    let steps = [
        (1.0, 0.0, [1.0, 0.0, 0.0]),
        (0.5, 0.0, [1.0, 1.0, 0.0]),
        (0.0, 1.0, [1.0, 1.0, 1.0]),
        (0.0, 2.0, [1.0, 1.0, 2.0]),
        (1.0, 0.0, [2.0, 1.0, 2.0]),
    ];
    for (number, (status, failures, outcomes)) in (1..).zip(steps) {
        run(&health).await;
        let check = |name: &str| value(&handle, &format!(r#"{name}{{check="database"}}"#));
        assert_eq!(check("health_check_status"), Some(status), "run {number}");
        assert_eq!(check("health_check_consecutive_failures"), Some(failures));
        assert_eq!(
            check("health_check_duration_seconds_count"),
            Some(f64::from(number))
        );
        for (outcome, count) in ["up", "degraded", "down"].into_iter().zip(outcomes) {
            let series =
                format!(r#"health_check_runs_total{{check="database",outcome="{outcome}"}}"#);
            assert_eq!(
                value(&handle, &series),
                Some(count),
                "run {number}: {outcome}"
            );
        }
    }
    // Five runs of 20 ms each.
    let sum = value(
        &handle,
        r#"health_check_duration_seconds_sum{check="database"}"#,
    );
    assert!((0.09..0.15).contains(&sum.expect("a sum")), "{sum:?}");
    let bucket = |bound: &str| {
        let series =
            format!(r#"health_check_duration_seconds_bucket{{check="database",le="{bound}"}}"#);
        value(&handle, &series)
    };
    assert_eq!((bucket("0.01"), bucket("0.025")), (Some(0.0), Some(5.0)));
    let text = handle.render();
    for kind in [
        "health_check_status gauge",
        "health_check_consecutive_failures gauge",
        "health_check_duration_seconds histogram",
        "health_check_runs_total counter",
    ] {
        assert!(text.contains(&format!("# TYPE {kind}")), "{kind} in {text}");
        let name = kind.split(' ').next().expect("a name");
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} in {text}"
        );
    }
    assert!(!text.contains("health_pool_connections"), "no pool: {text}");
}

#[tokio::test(start_paused = true)]
async fn the_status_follows_the_thresholds_and_the_outcome_does_not() {
    let recorder = recorder();
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(&recorder);
    let script = [down(), down(), Ok(Outcome::up()), down(), down(), down()];
    let health = Health::builder()
        .add(scripted(script).failure_threshold(3))
        .build();
    let mut seen = Vec::new();
    for _ in 0..6 {
        run(&health).await;
        seen.push((
            value(&handle, r#"health_check_status{check="database"}"#),
            value(
                &handle,
                r#"health_check_consecutive_failures{check="database"}"#,
            ),
            value(
                &handle,
                r#"health_check_runs_total{check="database",outcome="down"}"#,
            ),
        ));
    }
    let up = Some(1.0);
    assert_eq!(
        seen,
        [
            // No verdict yet is no status, least of all 0.
            (None, Some(1.0), Some(1.0)),
            (None, Some(2.0), Some(2.0)),
            (up, Some(0.0), Some(2.0)),
            (up, Some(1.0), Some(3.0)),
            (up, Some(2.0), Some(4.0)),
            (Some(0.0), Some(3.0), Some(5.0)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pool_shows_its_connections_also_when_its_server_is_down() {
    let recorder = recorder();
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(&recorder);
    let script = [
        Ok(Outcome::up().pool(PoolStats::new(10, 8, 5))),
        Err(Failure::new(Reason::Refused).pool(PoolStats::new(10, 0, 0))),
    ];
    let health = Health::builder().add(scripted(script)).build();
    for expected in [[10.0, 8.0, 5.0, 3.0], [10.0, 0.0, 0.0, 0.0]] {
        run(&health).await;
        for (state, expected) in ["max", "open", "idle", "in_use"].into_iter().zip(expected) {
            let series = format!(r#"health_pool_connections{{check="database",state="{state}"}}"#);
            assert_eq!(value(&handle, &series), Some(expected), "{state}");
        }
    }
}

fn inner()
-> impl tower::Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone {
    service_fn(async |_: Request<()>| Ok(Response::new(Full::from("inner"))))
}

async fn ask(layer: &HealthLayer, method: Method, target: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(target).body(());
    let service = layer.layer(inner());
    let response = service.oneshot(request.expect("valid")).await;
    response.expect("infallible").status()
}

#[tokio::test(start_paused = true)]
async fn answered_probes_are_counted_by_probe_and_code_and_nothing_else_is() {
    let recorder = recorder();
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(&recorder);
    let health = Health::builder()
        .add(scripted([Ok(Outcome::up()), down()]).group("storage"))
        .build();
    let layer = HealthLayer::new(health.clone())
        .path("/storage", Probe::group("storage"))
        .status_code(Status::Down, StatusCode::IM_A_TEAPOT);
    let count = |probe: &str, code: u16| {
        let series = format!(r#"health_probe_requests_total{{probe="{probe}",code="{code}"}}"#);
        value(&handle, &series)
    };

    // The first waits for its run, the others are answered from the cache.
    for _ in 0..3 {
        assert_eq!(ask(&layer, Method::GET, "/readyz").await, StatusCode::OK);
    }
    assert_eq!(count("readiness", 200), Some(3.0));
    assert_eq!(count("readiness", 503), Some(0.0), "there from the start");
    assert_eq!(
        ask(&layer, Method::HEAD, "/livez?x=1").await,
        StatusCode::OK
    );
    assert_eq!(count("liveness", 200), Some(1.0));
    assert_eq!(ask(&layer, Method::GET, "/storage").await, StatusCode::OK);
    assert_eq!(count("storage", 200), Some(1.0));

    advance(Duration::from_secs(2)).await;
    let teapot = ask(&layer, Method::GET, "/health").await;
    assert_eq!(teapot, StatusCode::IM_A_TEAPOT);
    assert_eq!(count("full", 418), Some(1.0));
    let refused = ask(&layer, Method::POST, "/health").await;
    assert_eq!(refused, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(count("full", 405), Some(1.0));
    // The app's, and no series of its own.
    let answered = lines(&handle);
    for target in ["/health/database", "/health/made-up", "/health/x%22y"] {
        assert_eq!(ask(&layer, Method::GET, target).await, StatusCode::OK);
    }
    assert_eq!(lines(&handle), answered);

    let closed = HealthLayer::new(health.clone()).allow(Access::nobody());
    let code = ask(&closed, Method::GET, "/health").await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(count("full", 403), Some(1.0));

    let before = lines(&handle);
    let concealed = HealthLayer::new(health)
        .allow(Access::nobody())
        .forward_denied();
    for (layer, target) in [(&concealed, "/health"), (&layer, "/"), (&layer, "/readyz/")] {
        assert_eq!(ask(layer, Method::GET, target).await, StatusCode::OK);
    }
    assert_eq!(lines(&handle), before, "a request that passes through");
    assert!(!before.iter().any(|line| line.contains("made-up")));
}

#[tokio::test(start_paused = true)]
async fn a_late_recorder_is_notified_from_then_on() {
    let health = Health::builder().add(scripted([])).build();
    let layer = HealthLayer::new(health.clone());
    run(&health).await;
    assert_eq!(ask(&layer, Method::GET, "/readyz").await, StatusCode::OK);

    let recorder = recorder();
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(&recorder);
    run(&health).await;
    assert_eq!(ask(&layer, Method::GET, "/readyz").await, StatusCode::OK);
    let runs = r#"health_check_runs_total{check="database",outcome="up"}"#;
    assert_eq!(value(&handle, runs), Some(1.0));
    let probes = r#"health_probe_requests_total{probe="readiness",code="200"}"#;
    assert_eq!(value(&handle, probes), Some(1.0));
}

/// A recorder without a size, as one is that keeps its numbers in a static or hands them on.
struct Unsized;

static REPORTED: Mutex<Option<Arc<PrometheusRecorder>>> = Mutex::new(None);

fn reported() -> Arc<PrometheusRecorder> {
    let reported = REPORTED.lock().expect("no panic under it");
    reported.clone().expect("set by the test")
}

impl Recorder for Unsized {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        reported().register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        reported().register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        reported().register_histogram(key, metadata)
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_without_a_size_is_notified_of_everything() {
    let recorder = Arc::new(recorder());
    *REPORTED.lock().expect("no panic under it") = Some(recorder.clone());
    let handle = recorder.handle();
    let _guard: LocalRecorderGuard<'_> = set_default_local_recorder(&Unsized);
    let health = Health::builder().add(scripted([])).build();
    let layer = HealthLayer::new(health.clone());
    for _ in 0..3 {
        run(&health).await;
        assert_eq!(ask(&layer, Method::GET, "/readyz").await, StatusCode::OK);
    }
    let runs = r#"health_check_runs_total{check="database",outcome="up"}"#;
    assert_eq!(value(&handle, runs), Some(3.0));
    let probes = r#"health_probe_requests_total{probe="readiness",code="200"}"#;
    assert_eq!(value(&handle, probes), Some(3.0));
}

#[tokio::test(start_paused = true)]
async fn a_removed_one_is_neither_up_nor_down_until_it_returns() {
    let recorder = recorder();
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(&recorder);
    let health = Health::builder().add(scripted([down()])).build();
    run(&health).await;
    let gauges = || {
        ["health_check_status", "health_check_consecutive_failures"]
            .map(|name| value(&handle, &format!(r#"{name}{{check="database"}}"#)))
    };
    assert_eq!(gauges(), [Some(0.0), Some(1.0)]);
    assert!(health.remove("database"));
    for gauge in gauges() {
        // No alert compares to it.
        assert!(gauge.is_some_and(f64::is_nan), "{gauge:?}");
    }
    health.add(scripted([])).expect("free again");
    run(&health).await;
    assert_eq!(gauges(), [Some(1.0), Some(0.0)]);
    // Of one that no run has judged nothing is said, nor when it goes.
    health
        .add(Dependency::new("unjudged", async || Ok(Outcome::up())))
        .expect("new");
    assert!(health.remove("unjudged"));
    assert!(!handle.render().contains("unjudged"));
}

/// A recorder that changes what is checked while it is told of one that goes.
struct Meddling {
    health: Health,
    waited_in_vain: AtomicBool,
}

impl GaugeFn for Meddling {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        if !value.is_nan() {
            return;
        }
        let (health, (done, is_done)) = (self.health.clone(), channel());
        // On another thread, which waits and does not hang the test where it must wait for this one.
        thread::spawn(move || done.send(health.remove("other")));
        if is_done.recv_timeout(Duration::from_secs(20)).is_err() {
            self.waited_in_vain.store(true, Ordering::SeqCst);
        }
    }
}

struct ToMeddle(Arc<Meddling>);

impl Recorder for ToMeddle {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.0.clone())
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_may_change_what_is_checked() {
    let health = Health::builder()
        .add(scripted([]))
        .check("other", async || Ok(Outcome::up()))
        .build();
    let meddling = Arc::new(Meddling {
        health: health.clone(),
        waited_in_vain: AtomicBool::new(false),
    });
    let recorder = ToMeddle(meddling.clone());
    let _guard = set_default_local_recorder(&recorder);
    run(&health).await;
    assert!(health.remove("database"));
    assert!(!meddling.waited_in_vain.load(Ordering::SeqCst));
    assert!(health.snapshot().entries.is_empty(), "it was told");
}
