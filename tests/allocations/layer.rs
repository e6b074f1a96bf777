//! Traffic, cached probes and rejections allocate nothing in the layer.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Outcome, Reason};

use super::ALLOCATIONS;

const REQUESTS: usize = 100;

type Sent = Request<Full<Bytes>>;

/// The allocations of as many requests like this, each served by a clone of `service` as in hyper-util.
///
/// Those of two more are not counted: the first answer to a started app makes the second one new.
fn allocations<S>(service: &S, method: &str, target: &str) -> usize
where
    S: Service<Sent, Error = Infallible> + Clone,
{
    let mut cx = Context::from_waker(Waker::noop());
    let request = |_| {
        Request::builder()
            .method(method)
            .uri(target)
            .header("host", "test")
            .header("user-agent", "kube-probe/1.30")
            .body(Full::from("body"))
            .expect("valid")
    };
    let requests: Vec<_> = (0..REQUESTS + 2).map(request).collect();
    let mut before = 0;
    for (number, request) in requests.into_iter().enumerate() {
        if number == 2 {
            before = ALLOCATIONS.get();
        }
        let mut service = service.clone();
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut response = pin!(service.call(request));
        let response = response.as_mut().poll(&mut cx);
        assert!(black_box(response).is_ready(), "{method} {target}");
    }
    ALLOCATIONS.get() - before
}

fn inner(_: Sent) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("inner"))))
}

/// An app that has results.
async fn health(is_up: bool) -> Health {
    let check = move || {
        let result = if is_up {
            Ok(Outcome::up())
        } else {
            Err(Failure::new(Reason::Refused))
        };
        ready(result)
    };
    let database = Dependency::new("database", check).cache_for(Duration::from_secs(60));
    let health = Health::builder().add(database).build();
    health.report().await;
    health
}

#[tokio::test(start_paused = true)]
async fn a_request_that_passes_through_allocates_nothing() {
    // The app allocates: the counter counts, and the layer adds nothing.
    let boxing = service_fn(async |_: Sent| {
        Ok::<_, Infallible>(Response::new(Body::new(Full::<Bytes>::from("inner"))))
    });
    let open = HealthLayer::new(health(true).await);
    let forwards = open.clone().allow(Access::nobody()).forward_denied();
    let marks = open.clone().mark_probes();
    for (layer, target) in [
        (&open, "/users/1?x=y"),
        (&open, "/readyz/"),
        (&open, "/health/a/b"),
        (&forwards, "/readyz"),
        (&forwards, "/health/database"),
        (&marks, "/"),
    ] {
        let plain = layer.layer(service_fn(inner));
        assert_eq!(allocations(&plain, "POST", target), 0, "{target}");
        let bare = allocations(&boxing, "POST", target);
        assert!(bare >= REQUESTS, "{bare}");
        let same_type = layer.clone().keep_body_type().layer(boxing);
        assert_eq!(allocations(&same_type, "POST", target), bare, "{target}");
    }
}

/// On a paused clock no result expires, however slow the machine is.
#[tokio::test(start_paused = true)]
async fn cached_probes_and_rejections_allocate_nothing() {
    for is_up in [true, false] {
        let layer = HealthLayer::new(health(is_up).await);
        for layer in [
            layer.clone(),
            layer.clone().details(Access::everybody()),
            layer.clone().allow(Access::nobody()),
        ] {
            let plain = layer.layer(service_fn(inner));
            let same_type = layer.keep_body_type().layer(service_fn(inner));
            for path in ["/livez", "/readyz", "/startupz", "/health"] {
                for method in ["GET", "HEAD", "POST"] {
                    let case = format!("{method} {path} {is_up}");
                    assert_eq!(allocations(&plain, method, path), 0, "{case}");
                    assert_eq!(allocations(&same_type, method, path), 0, "{case}");
                }
            }
        }
    }
    let marks = HealthLayer::new(health(true).await).mark_probes();
    let marked = allocations(&marks.layer(service_fn(inner)), "GET", "/readyz");
    assert!((1..=2 * REQUESTS).contains(&marked), "{marked}");
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn a_probe_counted_by_a_recorder_allocates_nothing() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let service = HealthLayer::new(health(true).await).layer(service_fn(inner));
    assert_eq!(allocations(&service, "GET", "/readyz"), 0);
    let series = r#"health_probe_requests_total{probe="readiness",code="200"}"#;
    let (text, counted) = (recorder.handle().render(), format!("{series} 102"));
    assert!(text.contains(&counted), "{counted} in {text}");
}
