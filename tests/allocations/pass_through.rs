//! What the layer costs in memory, counted: nothing per request.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    mem,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Reason,
    service::{ResponseBody, ResponseFuture, mode::KeepBody},
};

use super::counting::ALLOCATIONS;

const REQUESTS: usize = 100;

type Asked = Request<Full<Bytes>>;

fn request(method: &Method, target: &str) -> Asked {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "test")
        .header("user-agent", "kube-probe/1.30")
        .body(Full::from("body"))
        .expect("valid")
}

/// Serves `requests`, cloning the service for each as hyper-util does, and says how often memory was asked for.
fn allocations<S>(service: &S, requests: Vec<Asked>) -> usize
where
    S: Service<Asked> + Clone,
{
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

fn requests(method: &Method, target: &str) -> Vec<Asked> {
    (0..REQUESTS).map(|_| request(method, target)).collect()
}

fn answer(_: Asked) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("inner"))))
}

fn health() -> Health {
    Health::builder()
        .add(
            Dependency::new("database", async || Ok(Outcome::up()))
                .cache_for(Duration::from_secs(60)),
        )
        .build()
}

#[test]
fn the_counter_counts() {
    let boxes = service_fn(|request| {
        black_box(Box::new(0_u64));
        answer(request)
    });
    assert_eq!(allocations(&boxes, requests(&Method::GET, "/")), REQUESTS);
}

#[test]
fn a_request_that_passes_through_allocates_nothing() {
    let open = HealthLayer::new(health());
    let concealed = open.clone().allow(Access::nobody()).forward_denied();
    let inner = service_fn(answer);
    for (layer, target) in [
        (&open, "/"),
        (&open, "/users/1?x=y"),
        (&open, "/readyy"),
        (&open, "/readyz/"),
        (&open, "/health/a/b"),
        (&concealed, "/readyz"),
        (&concealed, "/health/database"),
    ] {
        let asked = || requests(&Method::POST, target);
        assert_eq!(allocations(&layer.layer(inner), asked()), 0, "{target}");
        let keep_body_type = layer
            .clone()
            .keep_body_type()
            .layer(service_fn(async |request| {
                answer(request)
                    .await
                    .map(|response| response.map(axum::body::Body::new))
            }));
        let bare = allocations(
            &service_fn(async |request| {
                answer(request)
                    .await
                    .map(|response| response.map(axum::body::Body::new))
            }),
            asked(),
        );
        assert_eq!(allocations(&keep_body_type, asked()), bare, "{target}");
    }
}

#[test]
fn an_inner_service_that_allocates_does_so_as_often_as_without_the_layer() {
    let boxes = service_fn(|request| {
        Box::pin(async move {
            black_box(vec![0_u8; 64]);
            answer(request).await
        })
    });
    let bare = allocations(&boxes, requests(&Method::GET, "/"));
    let layered = HealthLayer::new(health()).layer(boxes);
    assert_eq!(
        allocations(&layered, requests(&Method::GET, "/")),
        bare,
        "two each"
    );
    assert_eq!(bare, 2 * REQUESTS);
}

/// On a stopped clock, so that no verdict runs out however slow the machine.
#[tokio::test(start_paused = true)]
async fn a_cached_probe_allocates_nothing() {
    let failing = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .build();
    for health in [health(), failing] {
        for details in [Access::nobody(), Access::everybody()] {
            let layer = HealthLayer::new(health.clone()).details(details.clone());
            let service = layer.layer(service_fn(answer));
            let keep_body_type = layer.keep_body_type().layer(service_fn(answer));
            for path in ["/livez", "/readyz", "/startupz", "/health"] {
                for method in [Method::GET, Method::HEAD] {
                    let warm = || async {
                        // Twice: the first answer to a started app makes the second one again.
                        for _ in 0..2 {
                            let asked = request(&method, path);
                            service.clone().call(asked).await.expect("never fails");
                            let asked = request(&method, path);
                            keep_body_type
                                .clone()
                                .call(asked)
                                .await
                                .expect("never fails");
                        }
                    };
                    warm().await;
                    let case = format!("{method} {path} {details:?}");
                    assert_eq!(allocations(&service, requests(&method, path)), 0, "{case}");
                    assert_eq!(
                        allocations(&keep_body_type, requests(&method, path)),
                        0,
                        "{case}, same body"
                    );
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_costs_two_allocations_and_traffic_none() {
    let service = HealthLayer::new(health()).mark_probes();
    let service = service.layer(service_fn(answer));
    for _ in 0..2 {
        let asked = request(&Method::GET, "/readyz");
        service.clone().call(asked).await.expect("never fails");
    }
    let asked = requests(&Method::GET, "/readyz");
    let (probes, count) = (asked.len(), allocations(&service, asked));
    assert!((1..=2 * probes).contains(&count), "{count} for {probes}");
    assert_eq!(allocations(&service, requests(&Method::GET, "/")), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_allocates_nothing() {
    let unauthorized = HealthLayer::new(health()).allow(Access::nobody());
    let open = HealthLayer::new(health());
    for (layer, method, path) in [
        (&open, Method::POST, "/readyz"),
        (&unauthorized, Method::GET, "/readyz"),
    ] {
        let service = layer.layer(service_fn(answer));
        // With feature `metrics` the first answer with a code makes the series that counts it.
        allocations(&service, vec![request(&method, path)]);
        assert_eq!(allocations(&service, requests(&method, path)), 0, "{path}");
    }
}

#[test]
fn the_future_and_the_body_are_as_small_as_an_answer_lets_them() {
    fn check<const N: usize>() {
        let future = N.max(152) + 8;
        assert!(mem::size_of::<ResponseFuture<[u64; 33]>>() <= 264 + 8);
        assert!(mem::size_of::<ResponseFuture<[u8; N]>>() <= future, "{N}");
        assert!(
            mem::size_of::<ResponseFuture<[u8; N], KeepBody>>() <= future,
            "{N}"
        );
        let body = N.max(32) + 8;
        assert!(mem::size_of::<ResponseBody<[u8; N]>>() <= body, "{N}");
    }
    check::<0>();
    check::<8>();
    check::<32>();
    check::<40>();
    check::<152>();
    check::<264>();
    check::<1_000>();
    assert!(
        mem::size_of::<ResponseBody<axum::body::Body>>()
            <= mem::size_of::<axum::body::Body>().max(32) + 8
    );
}
