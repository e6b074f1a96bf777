//! A draining app over HTTP: readiness fails, and `AnnounceDrainLayer` marks the app's own responses.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tower::{Layer, Service, service_fn};
use tower_health::{Health, HealthLayer, Outcome, Reason, service::AnnounceDrainLayer};

use crate::helpers::{
    layer_client::LayerClient,
    server::{down, serve_hyper, up},
    wire::{self, Answer, Wire},
};

const ENVOY: &str = "x-envoy-immediate-health-check-fail";

/// The values of `connection` and of Envoy's header.
fn marks(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("connection"), answer.header(ENVOY))
}

/// Switches protocols at `/socket`.
async fn app<A>(request: Request<A>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::builder();
    if request.uri().path() == "/socket" {
        response = response.status(101).header("connection", "upgrade");
        response = response.header("upgrade", "echo");
    }
    Ok(response.body(Full::from("hello")).expect("valid"))
}

#[tokio::test]
async fn while_draining_only_the_apps_responses_are_marked() {
    let health = up();
    let announces = AnnounceDrainLayer::new(health.clone());
    let layer = HealthLayer::new(health.clone());
    let service = layer.layer(announces.layer(service_fn(app::<Incoming>)));
    let address = serve_hyper(TowerToHyperService::new(service)).await;
    let mut kept = Wire::connect(address).await;
    assert_eq!(marks(&kept.get("/work").await), (None, None));
    let mut announced = announces.layer(service_fn(app::<()>));
    let early = announced.call(Request::new(()));

    health.set_draining(true);
    let Ok(early) = early.await;
    let early = Answer::of(early).await;
    assert_eq!(marks(&early), (None, None), "it arrived before the drain");
    for (path, code) in [("/readyz", 503), ("/livez", 200), ("/startupz", 200)] {
        let answer = kept.get(path).await;
        let found = (answer.code, marks(&answer));
        assert_eq!(found, (code, (None, None)), "{path}");
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

    // In HTTP/2 the header `connection` is forbidden. Without a server, because hyper would remove it.
    let request = Request::builder().version(Version::HTTP_2).body(());
    let Ok(response) = announced.call(request.expect("valid")).await;
    let answer = Answer::of(response).await;
    assert_eq!(marks(&answer), (None, Some("true")));

    health.set_draining(false);
    for path in ["/readyz", "/work"] {
        let answer = wire::get(address, path).await;
        assert_eq!((answer.code, marks(&answer)), (200, (None, None)), "{path}");
    }
}

#[tokio::test]
async fn envoy_headers_are_on_readiness_only_if_enabled() {
    let slow = async || Ok(Outcome::degraded(Reason::Slow));
    let slow = Health::builder().check("cache", slow).build();
    let draining = up();
    draining.set_draining(true);
    const DEGRADED: &str = "x-envoy-degraded";
    for (health, path, expected) in [
        (&slow, "/readyz", Some(DEGRADED)),
        (&slow, "/health", None),
        (&slow, "/readyz/cache", None),
        (&draining, "/readyz", Some(ENVOY)),
        (&draining, "/livez", None),
        (&down(), "/readyz", None),
    ] {
        let layer = LayerClient::new(health).0;
        for (layer, expected) in [(layer.clone().envoy_headers(), expected), (layer, None)] {
            let answer = LayerClient(layer).request("GET", path, ("x-y", "z")).await;
            let mut names = [DEGRADED, ENVOY].into_iter();
            let header = names.find(|name| answer.header(name).is_some());
            assert_eq!(header, expected, "{path}");
        }
    }
}
