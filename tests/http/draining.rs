//! A draining app over HTTP: readiness fails, and `AnnounceDrainLayer` marks the app's own responses.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;
use tower::{Layer, service_fn};
use tower_health::{HealthLayer, service::AnnounceDrainLayer};

use crate::helpers::{
    layer_client::LayerClient,
    server::{degraded, down, serve_hyper, up},
    wire::{self, Answer, Wire, soon},
};

const ENVOY: &str = "x-envoy-immediate-health-check-fail";

/// The values of `connection` and of Envoy's header.
fn marks(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("connection"), answer.header(ENVOY))
}

#[tokio::test]
async fn while_draining_only_the_apps_responses_are_marked() {
    let (health, arrived, go) = (up(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrives, goes) = (arrived.clone(), go.clone());
    // It answers `/work`, switches protocols at `/socket`, and holds `/slow` until `go`.
    let app = service_fn(move |request: Request<Incoming>| {
        let (arrived, go) = (arrives.clone(), goes.clone());
        async move {
            let mut response = Response::builder();
            match request.uri().path() {
                "/socket" => {
                    response = response.status(101).header("connection", "upgrade");
                    response = response.header("upgrade", "echo");
                }
                "/slow" => {
                    arrived.notify_one();
                    go.notified().await;
                }
                _ => {}
            }
            let response = response.body(Full::<Bytes>::from("hello"));
            Ok::<_, Infallible>(response.expect("valid"))
        }
    });
    let app = AnnounceDrainLayer::new(health.clone()).layer(app);
    let service = HealthLayer::new(health.clone()).layer(app);
    let address = serve_hyper(TowerToHyperService::new(service)).await;
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
    let answer = socket.try_answer(true).await.expect("an answer");
    assert_eq!(answer.code, 101);
    assert_eq!(marks(&answer), (Some("upgrade"), Some("true")));

    // In HTTP/2 the connection is kept, and the header `connection` is forbidden.
    let mut client = wire::http2(address).await;
    for _ in 0..2 {
        let request = Request::get("http://app/work").body(Full::default());
        let response = soon(client.send_request(request.expect("valid"))).await;
        let answer = soon(Answer::of(response.expect("a response"))).await;
        assert_eq!(marks(&answer), (None, Some("true")));
    }

    health.set_draining(false);
    for path in ["/readyz", "/work"] {
        let answer = wire::get(address, path).await;
        assert_eq!((answer.code, marks(&answer)), (200, (None, None)), "{path}");
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
            let mut layer = LayerClient::new(health).0;
            if is_enabled {
                layer = layer.envoy_headers();
            }
            let answer = LayerClient(layer).request("GET", path, ("x-y", "z")).await;
            let mut names = [DEGRADED, ENVOY].into_iter();
            let header = names.find(|name| answer.header(name).is_some());
            assert_eq!(header, expected.filter(|_| is_enabled), "{path}");
        }
    }
}
