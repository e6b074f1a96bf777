//! Traffic, cached probes and rejections allocate nothing in the layer, and a caller that waits holds little.

use std::{
    convert::Infallible,
    future::{Future, Ready, pending, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_health::{Access, Failure, Health, HealthLayer, Outcome, Reason};

use super::{ALLOCATIONS, HELD};

const REQUESTS: usize = 100;
const CALLERS: usize = 10_000;

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

fn inner<R>(_: Request<R>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("inner"))))
}

/// Over an app that has results. On a paused clock none expires, however slow the machine is.
async fn layer(is_up: bool) -> HealthLayer {
    let check = move || {
        let result = is_up.then(Outcome::up);
        ready(result.ok_or_else(|| Failure::new(Reason::Refused)))
    };
    let health = Health::builder().check("database", check).build();
    health.report().await;
    HealthLayer::new(health)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_passes_through_allocates_nothing() {
    // The app allocates: the counter counts, and the layer adds nothing.
    let boxing = service_fn(async |_: Sent| {
        Ok::<_, Infallible>(Response::new(Body::new(Full::<Bytes>::from("inner"))))
    });
    let open = layer(true).await;
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

#[tokio::test(start_paused = true)]
async fn cached_probes_and_rejections_allocate_nothing() {
    for is_up in [true, false] {
        let layer = layer(is_up).await;
        for layer in [
            layer.clone(),
            layer.clone().details(Access::everybody()),
            layer.allow(Access::nobody()),
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
    let marks = layer(true).await.mark_probes();
    let marked = allocations(&marks.layer(service_fn(inner)), "GET", "/readyz");
    assert!((1..=2 * REQUESTS).contains(&marked), "{marked}");
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn a_probe_counted_by_a_recorder_allocates_nothing() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let service = layer(true).await.layer(service_fn(inner));
    assert_eq!(allocations(&service, "GET", "/readyz"), 0);
    let series = r#"health_probe_requests_total{probe="readiness",code="200"}"#;
    let (text, counted) = (recorder.handle().render(), format!("{series} 102"));
    assert!(text.contains(&counted), "{counted} in {text}");
}

/// Its future with the timer, and its place in the queue. The inner service's future is smaller than the layer's.
#[tokio::test]
async fn a_waiting_caller_holds_at_most_400_bytes() {
    let check = async || pending().await;
    let health = Health::builder().check("database", check).build();
    let mut service = HealthLayer::new(health).layer(service_fn(inner));
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Vec::with_capacity(CALLERS);
    let before = HELD.get();
    for _ in 0..CALLERS {
        // It allocates nothing, and is dropped before the wait.
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("/readyz");
        let mut future = Box::pin(service.call(request));
        assert!(future.as_mut().poll(&mut cx).is_pending());
        waiting.push(future);
    }
    // Without its request, which would exist without the layer.
    let each = (HELD.get() - before) / CALLERS - size_of::<Request<()>>();
    assert!((1..=400).contains(&each), "{each} bytes");
}
