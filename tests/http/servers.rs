//! The layer on each kind of server, in both versions of HTTP, around an app that echoes.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::service::TowerToHyperService;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, service::Routes, transport::Server};
use tonic_health::ServingStatus;
use tower::{Layer, make::Shared, service_fn};
use tower_health::{
    Access, Health, HealthLayer,
    health::{ConfigWarning, ConfigWarningKind},
};

use crate::helpers::{
    grpc,
    server::{listen, serve_axum, serve_hyper, up},
    wire::{self, Answer, soon},
};

/// One connection.
enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn both(address: SocketAddr) -> [Self; 2] {
        [
            Self::Http1(wire::http1(address).await),
            Self::Http2(wire::http2(address).await),
        ]
    }

    /// The request's body is `hello`.
    async fn send(&mut self, method: &str, path: &str) -> Answer {
        let uri = format!("http://localhost{path}");
        let request = Request::builder().method(method).uri(uri);
        let request = request.body(Full::from("hello")).expect("valid");
        let response = soon(async {
            match self {
                Self::Http1(client) => {
                    client.ready().await?;
                    client.send_request(request).await
                }
                Self::Http2(client) => client.send_request(request).await,
            }
        });
        soon(Answer::of(response.await.expect("answered"))).await
    }

    /// What `GET` answers, after it was compared with `HEAD`.
    async fn probe(&mut self, path: &str) -> Answer {
        let get = self.send("GET", path).await;
        let head = self.send("HEAD", path).await;
        assert_eq!((head.code, &head.headers), (get.code, &get.headers));
        assert_eq!(head.body, "", "{path}");
        get
    }
}

/// Details for local peers; without ages, which would change the length.
fn layer(health: &Health) -> HealthLayer {
    let layer = HealthLayer::new(health.clone()).details(Access::loopback());
    layer.without_measurements()
}

fn echo() -> Router {
    Router::new().route("/echo", post(async |body: Bytes| body))
}

/// Probes `address`; the caller sees details if the server passes on the peer address.
async fn assert_serves(health: &Health, address: SocketAddr, has_peer: bool) {
    let (empty, full) = match has_peer {
        true => (
            r#"{"status":"up","checks":{}}"#,
            r#"{"status":"up","checks":{"database":{"status":"up","required":true}}}"#,
        ),
        false => (r#"{"status":"up"}"#, r#"{"status":"up"}"#),
    };
    for mut client in Client::both(address).await {
        for (path, body) in [
            ("/livez", empty),
            ("/readyz", full),
            ("/startupz", empty),
            ("/health?x", full),
        ] {
            let answer = client.probe(path).await;
            assert_eq!((answer.code, &*answer.body), (200, body), "{path}");
            let length = body.len().to_string();
            assert_eq!(answer.header("content-length"), Some(&*length));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.headers.len(), 3, "each header has its price: {path}");
        }
        health.set_draining(true);
        // Neither a failure nor a rejection ends the connection.
        for _ in 0..2 {
            let failure = client.probe("/readyz").await;
            assert_eq!(failure.code, 503);
            let start = r#"{"status":"down""#;
            assert!(failure.body.starts_with(start), "{failure:?}");
            assert_eq!(failure.header("retry-after"), Some("1"));
            assert_eq!(failure.header("connection"), None);
            let rejection = client.send("POST", "/readyz").await;
            assert_eq!((rejection.code, &*rejection.body), (405, ""));
            assert_eq!(rejection.header("allow"), Some("GET, HEAD"));
            assert!(rejection.is_probe());
        }
        let echo = client.send("POST", "/echo").await;
        assert_eq!((echo.is_probe(), &*echo.body), (false, "hello"));
        health.set_draining(false);
    }
    let warnings = health.warnings();
    let kinds: Vec<_> = warnings.iter().map(ConfigWarning::kind).collect();
    let missing = [ConfigWarningKind::NoPeerAddress];
    assert_eq!(kinds, missing[usize::from(has_peer)..]);
}

#[tokio::test]
async fn an_axum_router_answers_probes_and_its_own_paths() {
    let health = up();
    let address = serve_axum(echo().layer(layer(&health))).await;
    assert_serves(&health, address, cfg!(feature = "axum")).await;
}

/// It is served without connect info.
#[tokio::test]
async fn without_a_peer_address_details_are_denied_with_a_warning() {
    let health = up();
    assert_eq!(health.warnings(), []);
    let service = Shared::new(layer(&health).keep_body_type().layer(echo()));
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, service).await });
    assert_serves(&health, address, false).await;
    let text = health.warnings()[0].to_string();
    let remedy = "into_make_service_with_connect_info";
    assert!(text.contains(remedy), "{text}");
}

/// The peer is a `PeerAddr`.
#[tokio::test]
async fn a_tower_service_in_hyper_answers_probes_and_requests() {
    let health = up();
    let app = layer(&health).layer(service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let address = serve_hyper(TowerToHyperService::new(app)).await;
    assert_serves(&health, address, true).await;
}

/// With the feature, `HealthService` is itself a hyper service, around another one.
#[cfg(feature = "hyper")]
#[tokio::test]
async fn a_hyper_service_is_wrapped_without_an_adapter() {
    let health = up();
    let app = layer(&health).layer(TowerToHyperService::new(echo()));
    let address = serve_hyper(app).await;
    assert_serves(&health, address, true).await;
}

#[tokio::test]
async fn a_tonic_server_answers_probes_requests_and_calls() {
    let health = up();
    // The service of tonic-health plays any service of the app.
    let (reporter, service) = tonic_health::server::health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status("app", serving).await;
    let (listener, address) = listen().await;
    let mut server = Server::builder().accept_http1(true).layer(layer(&health));
    let server = server.add_routes(Routes::from(echo()).add_service(service));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    assert_serves(&health, address, cfg!(feature = "tonic")).await;

    let mut client = grpc::client(address).await;
    let mut watch = grpc::watch(&mut client, "app").await;
    assert_eq!(watch.next().await, Ok(grpc::SERVING));
    // tonic sends this status in the response headers.
    let unknown = grpc::check(&mut client, "unknown").await;
    assert_eq!(unknown, Err(Code::NotFound));
}
