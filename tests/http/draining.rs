//! A draining app over HTTP: readiness fails, and `AnnounceDrainLayer` marks the app's own responses.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::{sync::Notify, task::JoinSet};
use tower::{Layer, Service, service_fn};
use tower_health::{
    Access, Health, HealthLayer,
    service::{AnnounceDrainLayer, BusyService},
};

use super::server::{degraded, down, serve_axum, serve_hyper, up};
use crate::helpers::wire::{self, Answer, Wire, soon};

const ENVOY: &str = "x-envoy-immediate-health-check-fail";

/// An app that answers `/work`, switches protocols at `/socket`, and holds `/slow` until `go`.
fn app(
    arrived: Arc<Notify>,
    go: Arc<Notify>,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |request: Request<Incoming>| {
        let (arrived, go) = (arrived.clone(), go.clone());
        async move {
            let mut response = Response::new(Full::from("hello"));
            match request.uri().path() {
                "/socket" => {
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    let headers = response.headers_mut();
                    headers.insert("connection", "upgrade".parse().expect("valid"));
                    headers.insert("upgrade", "echo".parse().expect("valid"));
                }
                "/slow" => {
                    arrived.notify_one();
                    go.notified().await;
                }
                _ => {}
            }
            Ok(response)
        }
    })
}

/// Probes outside, and the announcement on what the app answers.
async fn serve(health: &Health, arrived: &Arc<Notify>, go: &Arc<Notify>) -> SocketAddr {
    let app = AnnounceDrainLayer::new(health.clone()).layer(app(arrived.clone(), go.clone()));
    let service = HealthLayer::new(health.clone()).layer(app);
    serve_hyper(TowerToHyperService::new(service)).await
}

/// The values of `connection` and of Envoy's header.
fn marks(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("connection"), answer.header(ENVOY))
}

#[tokio::test]
async fn while_draining_only_the_apps_responses_are_marked() {
    let (health, arrived, go) = (up(), Arc::default(), Arc::default());
    let address = serve(&health, &arrived, &go).await;
    let mut kept = Wire::connect(address).await;
    assert_eq!(marks(&kept.get("/work").await), (None, None));
    let early = tokio::spawn(wire::get(address, "/slow"));
    soon(arrived.notified()).await;

    health.set_draining(true);
    go.notify_one();
    let early = early.await.expect("no panic");
    assert_eq!(marks(&early), (None, None), "it arrived before the drain");
    for (path, code) in [("/readyz", 503), ("/livez", 200), ("/startupz", 200)] {
        let answer = kept.get(path).await;
        assert_eq!(
            (answer.code, marks(&answer)),
            (code, (None, None)),
            "{path}"
        );
    }
    let answer = kept.get("/work").await;
    assert_eq!((answer.code, &*answer.body), (200, "hello"));
    assert_eq!(marks(&answer), (Some("close"), Some("true")));
    assert!(kept.ends().await, "the server closes it");

    let mut socket = Wire::connect(address).await;
    let upgrade = "host: app\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    socket
        .send(format!("GET /socket HTTP/1.1\r\n{upgrade}"))
        .await;
    let answer = socket.answer_to_head().await;
    assert_eq!(
        (answer.code, marks(&answer)),
        (101, (Some("upgrade"), Some("true")))
    );

    // In HTTP/2 the connection is kept, and the header `connection` is forbidden.
    let mut client = wire::http2(address).await;
    for _ in 0..2 {
        let request = Request::get("http://app/work").body(Full::default());
        let response = soon(client.send_request(request.expect("valid"))).await;
        let response = response.expect("a response");
        assert_eq!(response.headers()[ENVOY], "true");
        assert_eq!(response.headers().get("connection"), None);
    }

    health.set_draining(false);
    for path in ["/readyz", "/work"] {
        let answer = wire::get(address, path).await;
        assert_eq!((answer.code, marks(&answer)), (200, (None, None)), "{path}");
    }
}

#[tokio::test]
async fn responses_are_marked_in_every_mode_of_the_layer() {
    let health = up();
    let app = Router::new().route("/work", get(async || "hello"));
    let announced = AnnounceDrainLayer::new(health.clone()).layer(app);
    let layer = HealthLayer::new(health.clone());
    let busy = layer.layer(BusyService::new(announced.clone()));
    let keep_body_type = layer.keep_body_type().layer(announced);
    health.set_draining(true);
    for address in [
        serve_hyper(TowerToHyperService::new(busy)).await,
        serve_hyper(TowerToHyperService::new(keep_body_type)).await,
    ] {
        let answer = wire::get(address, "/work").await;
        assert_eq!(marks(&answer), (Some("close"), Some("true")));
    }
}

#[tokio::test]
async fn envoy_headers_are_on_readiness_only_if_enabled() {
    let draining = up();
    draining.set_draining(true);
    const DEGRADED: &str = "x-envoy-degraded";
    for (health, path, expected) in [
        (&degraded(), "/readyz", Some(DEGRADED)),
        (&degraded(), "/health", None),
        (&degraded(), "/readyz/cache", None),
        (&draining, "/readyz", Some(ENVOY)),
        (&draining, "/livez", None),
        (&up(), "/readyz", None),
        (&down(), "/readyz", None),
    ] {
        for is_enabled in [true, false] {
            let layer = HealthLayer::new(health.clone()).details(Access::everybody());
            let layer = if is_enabled {
                layer.envoy_headers()
            } else {
                layer
            };
            let address = serve_axum(Router::new().layer(layer)).await;
            let answer = wire::get(address, path).await;
            let header = [DEGRADED, ENVOY]
                .into_iter()
                .find(|name| answer.header(name).is_some());
            assert_eq!(header, expected.filter(|_| is_enabled), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_drains_at_once_end_after_their_own_delays() {
    let health = up();
    let mut drains = JoinSet::new();
    for seconds in [3, 1, 2] {
        let health = health.clone();
        drains.spawn(async move {
            health.drain(Duration::from_secs(seconds)).await;
            seconds
        });
    }
    let mut ended = Vec::new();
    while let Some(seconds) = drains.join_next().await {
        assert!(health.is_draining());
        ended.push(seconds.expect("no panic"));
    }
    assert_eq!(ended, [1, 2, 3]);
}
