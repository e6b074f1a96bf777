//! A draining app says so on its ordinary responses, where it was asked to.

use crate::helpers::wire;
use std::{convert::Infallible, net::SocketAddr};

use crate::helpers::wire::{Wire, soon};
use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::oneshot};
use tower::{Layer, Service, layer::layer_fn, service_fn};
use tower_health::{
    Health, HealthLayer,
    service::{AnnounceDrainLayer, AnnounceDrainService, BusyService, HealthService},
};

const ENVOY: &str = "x-envoy-immediate-health-check-fail";

fn health() -> Health {
    Health::builder().build()
}

/// Probes outside, and the announcement on what the app answers.
fn layer<S>(
    health: &Health,
) -> impl Layer<S, Service = HealthService<AnnounceDrainService<S>>> + Clone {
    let (probes, announces) = (
        HealthLayer::new(health.clone()),
        AnnounceDrainLayer::new(health.clone()),
    );
    layer_fn(move |inner| probes.layer(announces.layer(inner)))
}

/// One server for HTTP/1 and HTTP/2, as most apps are.
async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn hello() -> impl Service<
    Request<hyper::body::Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    service_fn(async |_| Ok(Response::new(Full::from("hello"))))
}

#[tokio::test]
async fn over_http1_the_response_is_marked_and_the_connection_ends() {
    let health = health();
    let layer = layer(&health);
    let address = serve(layer.layer(hello())).await;
    let mut kept = Wire::connect(address).await;
    let before = kept.get("/work").await;
    assert_eq!(
        (before.header("connection"), before.header(ENVOY)),
        (None, None)
    );

    health.set_draining(true);
    let answer = kept.get("/work").await;
    assert_eq!((answer.code, &*answer.body), (200, "hello"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header(ENVOY), Some("true"));
    assert!(kept.ends().await, "the server closes it");

    health.set_draining(false);
    let again = wire::get(address, "/work").await;
    assert_eq!(
        (again.header("connection"), again.header(ENVOY)),
        (None, None)
    );
}

#[tokio::test]
async fn over_http2_the_response_is_marked_and_the_connection_serves_on() {
    let health = health();
    let layer = layer(&health);
    let mut client = wire::http2(serve(layer.layer(hello())).await).await;
    health.set_draining(true);
    for _ in 0..2 {
        let request = Request::get("http://app/work").body(Full::default());
        let response = soon(client.send_request(request.expect("valid"))).await;
        let response = response.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[ENVOY], "true");
        assert_eq!(response.headers().get("connection"), None);
    }
}

#[tokio::test]
async fn a_probe_speaks_for_itself() {
    let health = health();
    let layer = layer(&health);
    let address = serve(layer.layer(hello())).await;
    health.set_draining(true);
    let mut kept = Wire::connect(address).await;
    for (path, code) in [("/readyz", 503), ("/livez", 200)] {
        let answer = kept.get(path).await;
        assert_eq!(answer.code, code, "{path}");
        assert_eq!(answer.header("connection"), None, "{path}");
        assert_eq!(answer.header(ENVOY), None, "{path}");
    }
}

#[tokio::test]
async fn who_did_not_ask_for_it_gets_what_the_app_sent() {
    let health = health();
    let address = serve(HealthLayer::new(health.clone()).layer(hello())).await;
    health.set_draining(true);
    let answer = wire::get(address, "/work").await;
    assert_eq!(
        (answer.header("connection"), answer.header(ENVOY)),
        (None, None)
    );
}

#[tokio::test]
async fn a_connection_that_switches_protocols_is_left_alone() {
    let health = health();
    let switch = service_fn(async |_: Request<hyper::body::Incoming>| {
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert("connection", "upgrade".parse().expect("valid"));
        headers.insert("upgrade", "echo".parse().expect("valid"));
        Ok::<_, Infallible>(response)
    });
    let layer = layer(&health);
    let address = serve(layer.layer(switch)).await;
    health.set_draining(true);
    let mut wire = Wire::connect(address).await;
    wire.send("GET /socket HTTP/1.1\r\nhost: app\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    let answer = wire.answer_to_head().await;
    assert_eq!(answer.code, 101);
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header(ENVOY), Some("true"));
}

#[tokio::test]
async fn it_goes_with_axum_and_beside_a_full_limit() {
    let health = health();
    let app = Router::new().route("/work", get(async || "hello"));
    let announced = AnnounceDrainLayer::new(health.clone()).layer(app);
    let layer = HealthLayer::new(health.clone());
    let busy = serve(layer.layer(BusyService::new(announced.clone()))).await;
    let keep_body_type = serve(layer.keep_body_type().layer(announced)).await;
    health.set_draining(true);
    for address in [keep_body_type, busy] {
        let answer = wire::get(address, "/work").await;
        assert_eq!((answer.code, &*answer.body), (200, "hello"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header(ENVOY), Some("true"));
    }
}

#[tokio::test]
async fn a_request_that_arrived_before_is_answered_as_it_was_asked() {
    let health = health();
    let (go, gone) = oneshot::channel::<()>();
    let (arrived, here) = oneshot::channel::<()>();
    let once = std::sync::Arc::new(std::sync::Mutex::new(Some((gone, arrived))));
    let slow = service_fn(move |_: Request<hyper::body::Incoming>| {
        let parts = once.lock().expect("unpoisoned").take();
        async move {
            let (gone, arrived) = parts.expect("asked once");
            arrived.send(()).expect("waited for");
            gone.await.expect("told");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("late")))
        }
    });
    let layer = layer(&health);
    let address = serve(layer.layer(slow)).await;
    let caller = tokio::spawn(wire::get(address, "/work"));
    soon(here).await.expect("arrived");
    health.set_draining(true);
    go.send(()).expect("waited for");
    let answer = caller.await.expect("no panic");
    assert_eq!((&*answer.body, answer.header(ENVOY)), ("late", None));
}
