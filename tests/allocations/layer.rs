//! Traffic, cached probes and rejections allocate nothing in the layer.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Outcome, Reason};

use super::counting::ALLOCATIONS;

const REQUESTS: usize = 100;

type Sent = Request<Full<Bytes>>;

fn requests(method: &Method, target: &str, count: usize) -> Vec<Sent> {
    let request = || {
        Request::builder()
            .method(method)
            .uri(target)
            .header("host", "test")
            .header("user-agent", "kube-probe/1.30")
            .body(Full::from("body"))
            .expect("valid")
    };
    (0..count).map(|_| request()).collect()
}

/// The allocations of `requests`, each served by a clone of `service` as in hyper-util.
fn allocations<S: Service<Sent> + Clone>(service: &S, requests: Vec<Sent>) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let before = ALLOCATIONS.get();
    for request in requests {
        let mut service = service.clone();
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut response = pin!(service.call(request));
        loop {
            if let Poll::Ready(response) = response.as_mut().poll(&mut cx) {
                black_box(response.ok());
                break;
            }
        }
    }
    ALLOCATIONS.get() - before
}

/// The same once answers are cached. The first answer to a started app makes the second one new.
async fn when_cached<S>(service: &S, method: &Method, target: &str) -> usize
where
    S: Service<Sent, Error = Infallible> + Clone,
{
    for request in requests(method, target, 2) {
        let Ok(_) = service.clone().call(request).await;
    }
    allocations(service, requests(method, target, REQUESTS))
}

fn inner(_: Sent) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("inner"))))
}

fn health() -> Health {
    let database = Dependency::new("database", async || Ok(Outcome::up()));
    let minute = Duration::from_secs(60);
    Health::builder().add(database.cache_for(minute)).build()
}

#[test]
fn a_request_that_passes_through_allocates_nothing() {
    // The app allocates: the counter counts, and the layer adds nothing.
    let boxing = service_fn(async |_: Sent| {
        Ok::<_, Infallible>(Response::new(Body::new(Full::<Bytes>::from("inner"))))
    });
    let open = HealthLayer::new(health());
    let forwards = open.clone().allow(Access::nobody()).forward_denied();
    let marks = open.clone().mark_probes();
    for (layer, target) in [
        (&open, "/"),
        (&open, "/users/1?x=y"),
        (&open, "/readyy"),
        (&open, "/readyz/"),
        (&open, "/health/a/b"),
        (&forwards, "/readyz"),
        (&forwards, "/health/database"),
        (&marks, "/"),
    ] {
        let sent = || requests(&Method::POST, target, REQUESTS);
        let plain = layer.layer(service_fn(inner));
        assert_eq!(allocations(&plain, sent()), 0, "{target}");
        let bare = allocations(&boxing, sent());
        assert!(bare >= REQUESTS, "{bare}");
        let keep_body_type = layer.clone().keep_body_type().layer(boxing);
        assert_eq!(allocations(&keep_body_type, sent()), bare, "{target}");
    }
}

/// On a paused clock no result expires, however slow the machine is.
#[tokio::test(start_paused = true)]
async fn a_cached_probe_allocates_nothing() {
    let failing = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .build();
    for health in [health(), failing] {
        for details in [Access::nobody(), Access::everybody()] {
            let layer = HealthLayer::new(health.clone()).details(details.clone());
            let plain = layer.layer(service_fn(inner));
            let keep_body_type = layer.keep_body_type().layer(service_fn(inner));
            for path in ["/livez", "/readyz", "/startupz", "/health"] {
                for method in [Method::GET, Method::HEAD] {
                    let case = format!("{method} {path} {details:?}");
                    assert_eq!(when_cached(&plain, &method, path).await, 0, "{case}");
                    let kept = when_cached(&keep_body_type, &method, path).await;
                    assert_eq!(kept, 0, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_allocates_nothing_and_a_mark_twice_at_most() {
    let open = HealthLayer::new(health());
    let denies = open.clone().allow(Access::nobody());
    for (layer, method) in [(&open, Method::POST), (&denies, Method::GET)] {
        let service = layer.layer(service_fn(inner));
        assert_eq!(
            when_cached(&service, &method, "/readyz").await,
            0,
            "{method}"
        );
    }
    let marks = open.mark_probes().layer(service_fn(inner));
    let marked = when_cached(&marks, &Method::GET, "/readyz").await;
    assert!((1..=2 * REQUESTS).contains(&marked), "{marked}");
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn a_probe_counted_by_a_recorder_allocates_nothing() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let health = health();
    health.report().await;
    let service = HealthLayer::new(health).layer(service_fn(inner));
    // The first two make the answer and the series.
    assert_eq!(when_cached(&service, &Method::GET, "/readyz").await, 0);
    let series = r#"health_probe_requests_total{probe="readiness",code="200"}"#;
    let counted = format!("{series} {}", REQUESTS + 2);
    let text = exporter.render();
    assert!(text.contains(&counted), "{counted} in {text}");
}
