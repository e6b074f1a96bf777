//! Outer layers distinguish probes from traffic by a mark on the response.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_health::{
    Access, Health, HealthLayer,
    service::{AnnounceDrainLayer, BusyService, ProbeMark, ResponseBody},
};
use tower_http::trace::TraceLayer;

use super::server::up;

type Sent = Request<Full<Bytes>>;
type Reply = Response<Full<Bytes>>;

async fn inner(_: Sent) -> Result<Reply, Infallible> {
    Ok(Response::default())
}

fn request(method: Method, target: &str) -> Sent {
    let request = Request::builder().method(method).uri(target);
    request.body(Full::default()).expect("valid")
}

/// The code, and whether the response is marked.
async fn send<S, B>(service: S, method: &Method, target: &str) -> (u16, bool)
where
    S: Service<Sent, Response = Response<B>, Error = Infallible>,
{
    let Ok(response) = service.oneshot(request(method.clone(), target)).await;
    let mark = response.extensions().get::<ProbeMark>();
    (response.status().as_u16(), mark.is_some())
}

#[tokio::test]
async fn probes_and_rejections_are_marked_and_traffic_is_not() {
    let (get, post, head) = (Method::GET, Method::POST, Method::HEAD);
    let inner = service_fn(inner);
    let plain = HealthLayer::new(up());
    let marks = plain.clone().mark_probes();
    let denies = marks.clone().allow(Access::nobody());
    let forwards = denies.clone().forward_denied();
    for (layer, method, target, expected) in [
        // First the answer that waits for a run, then the cached one.
        (&marks, &get, "/readyz", (200, true)),
        (&marks, &get, "/readyz", (200, true)),
        (&marks, &head, "/health", (200, true)),
        (&marks, &post, "/livez", (405, true)),
        (&marks, &get, "/health/nothing", (200, false)),
        (&marks, &get, "/", (200, false)),
        (&marks, &get, "/readyz/", (200, false)),
        (&denies, &get, "/readyz", (403, true)),
        (&forwards, &get, "/readyz", (200, false)),
        (&plain, &get, "/readyz", (200, false)),
    ] {
        let found = send(layer.layer(inner), method, target).await;
        assert_eq!(found, expected, "{method} {target}");
    }
    for (target, is_probe) in [("/readyz", true), ("/", false)] {
        let kept = marks.clone().keep_body_type().layer(inner);
        let busy = marks.layer(BusyService::new(inner));
        let announced = marks.layer(AnnounceDrainLayer::new(up()).layer(inner));
        let expected = (200, is_probe);
        assert_eq!(send(kept, &get, target).await, expected);
        assert_eq!(send(busy, &get, target).await, expected);
        assert_eq!(send(announced, &get, target).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_leaves_the_next_one_marked() {
    let health = Health::builder()
        .check("database", async || pending().await)
        .build();
    let layer = HealthLayer::new(health).mark_probes();
    let service = layer.layer(service_fn(inner));
    let waiting = send(service.clone(), &Method::GET, "/readyz");
    let cancelled = tokio::time::timeout(Duration::from_millis(10), waiting).await;
    assert!(cancelled.is_err());
    assert_eq!(send(service, &Method::GET, "/readyz").await, (503, true));
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn an_answered_grpc_call_is_marked() {
    let layer = HealthLayer::new(up()).mark_probes().grpc();
    let service = layer.layer(service_fn(inner));
    for method in ["Check", "Watch", "List"] {
        let call = Request::post(format!("/grpc.health.v1.Health/{method}"))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            // One message without a field names the server itself.
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .expect("valid");
        let Ok(response) = service.clone().oneshot(call).await;
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let mark = response.extensions().get::<ProbeMark>();
        assert!(mark.is_some(), "{method}");
    }
}

#[tokio::test]
async fn an_access_log_can_leave_probes_out() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (requests, responses) = (log.clone(), log.clone());
    let layer = HealthLayer::new(up()).mark_probes();
    let probes = layer.clone();
    let trace = TraceLayer::new_for_http()
        .on_request(move |request: &Sent, _: &tracing::Span| {
            if !probes.is_probe(request.uri()) {
                let line = format!("request {}", request.uri());
                requests.lock().expect("no panic").push(line);
            }
        })
        .on_response(
            move |response: &Response<ResponseBody<Full<Bytes>>>,
                  _: Duration,
                  _: &tracing::Span| {
                if response.extensions().get::<ProbeMark>().is_none() {
                    let line = format!("response {}", response.status());
                    responses.lock().expect("no panic").push(line);
                }
            },
        );
    let service = ServiceBuilder::new().layer(trace).layer(layer);
    let service = service.service(service_fn(inner));
    for target in ["/readyz", "/shop", "/readyz", "/livez"] {
        let sent = service.clone().oneshot(request(Method::GET, target));
        assert_eq!(sent.await.expect("infallible").status(), 200);
    }
    let log = log.lock().expect("no panic");
    assert_eq!(*log, ["request /shop", "response 200 OK"]);
}
