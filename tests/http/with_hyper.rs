//! The layer around a tower service that plain hyper serves.

use crate::helpers::wire;
use std::{convert::Infallible, net::SocketAddr};

use crate::helpers::wire::{Wire, soon};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    server::conn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{Access, Failure, Health, HealthLayer, Outcome, PeerAddr, Reason};

#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Http1,
    Http2,
}

/// An app that echoes, with trailers.
async fn serve(layer: HealthLayer, speaks: Speaks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = layer.layer(service_fn(async |request: Request<Incoming>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "true".parse().expect("valid"));
        let body = request
            .into_body()
            .with_trailers(async { Some(Ok(trailers)) });
        Ok::<_, Infallible>(Response::new(body.boxed_unsync()))
    }));
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = app.clone().map_request(move |mut request: Request<_>| {
                request.extensions_mut().insert(PeerAddr(peer));
                request
            });
            let service = TowerToHyperService::new(service);
            let stream = TokioIo::new(stream);
            tokio::spawn(async move {
                match speaks {
                    Speaks::Http1 => {
                        let builder = conn::http1::Builder::new();
                        builder.serve_connection(stream, service).await
                    }
                    Speaks::Http2 => {
                        let builder = conn::http2::Builder::new(TokioExecutor::new());
                        builder.serve_connection(stream, service).await
                    }
                }
            });
        }
    });
    address
}

enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn connect(address: SocketAddr, speaks: Speaks) -> Self {
        match speaks {
            Speaks::Http1 => Self::Http1(wire::http1(address).await),
            Speaks::Http2 => Self::Http2(wire::http2(address).await),
        }
    }

    async fn send(&mut self, method: Method, path: &str, body: &'static str) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .body(Full::from(body))
            .expect("valid");
        soon(async {
            match self {
                Self::Http1(client) => {
                    client.ready().await?;
                    client.send_request(request).await
                }
                Self::Http2(client) => {
                    client.ready().await?;
                    client.send_request(request).await
                }
            }
        })
        .await
        .expect("answered")
    }
}

fn health() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build()
}

#[tokio::test]
async fn probes_are_answered_beside_the_app_in_both_versions() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let address = serve(HealthLayer::new(health()), speaks).await;
        let mut client = Client::connect(address, speaks).await;
        for path in ["/readyz", "/livez", "/startupz", "/health?x"] {
            let response = client.send(Method::GET, path, "").await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()["content-length"], "15");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["content-type"], "application/json");
            let expected = match speaks {
                Speaks::Http1 => Version::HTTP_11,
                Speaks::Http2 => Version::HTTP_2,
            };
            assert_eq!(response.version(), expected);
            let body = response.collect().await.expect("a body");
            assert_eq!(body.to_bytes(), r#"{"status":"up"}"#);
        }
        let echo = client.send(Method::POST, "/echo", "hello").await;
        assert!(!echo.headers().contains_key("cache-control"));
        let body = echo.collect().await.expect("a body");
        if speaks == Speaks::Http2 {
            assert_eq!(body.trailers().expect("trailers")["x-end"], "true");
        }
        assert_eq!(body.to_bytes(), "hello");
    }
}

#[tokio::test]
async fn head_and_refusals_are_alike_in_both_versions() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        // No ages: with them lengths differ.
        let layer = HealthLayer::new(health()).without_measurements();
        let layer = layer.details(Access::everybody());
        let address = serve(layer, speaks).await;
        let mut client = Client::connect(address, speaks).await;
        for path in ["/livez", "/health/database"] {
            let mut heads = Vec::new();
            for method in [Method::GET, Method::HEAD] {
                let response = client.send(method.clone(), path, "").await;
                let (mut parts, body) = response.into_parts();
                let body = body.collect().await.expect("a body").to_bytes();
                assert!(method == Method::GET || body.is_empty(), "{path}");
                parts.headers.remove("date");
                heads.push((parts.status, parts.headers));
            }
            assert_eq!(heads[0], heads[1], "{path}");
        }
        let refused = client.send(Method::POST, "/readyz", "body").await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
        let after = client.send(Method::GET, "/readyz", "").await;
        assert_eq!(after.status(), StatusCode::OK, "the connection goes on");
    }
}

#[tokio::test]
async fn a_failing_probe_leaves_the_connection_open() {
    let broken = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .build();
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let address = serve(HealthLayer::new(broken.clone()), speaks).await;
        let mut client = Client::connect(address, speaks).await;
        for _ in 0..3 {
            let response = client.send(Method::GET, "/readyz", "").await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "1");
            let body = response.collect().await.expect("a body");
            assert_eq!(body.to_bytes(), r#"{"status":"down"}"#);
        }
    }
}

#[tokio::test]
async fn a_local_peer_that_the_server_notes_sees_details() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let layer = HealthLayer::new(health()).details(Access::loopback());
        let address = serve(layer, speaks).await;
        let mut client = Client::connect(address, speaks).await;
        let response = client.send(Method::GET, "/health", "").await;
        let body = response.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(
            text.contains(r#""checks":{"database":{"status":"up""#),
            "{text}"
        );
        let one = client.send(Method::GET, "/health/database", "").await;
        assert_eq!(one.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_prober_without_a_host_is_answered() {
    let address = serve(HealthLayer::new(health()), Speaks::Http1).await;
    let mut wire = Wire::connect(address).await;
    wire.send("GET /readyz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        .await;
    let answer = wire.answer().await;
    assert_eq!((answer.code, &*answer.version), (200, "HTTP/1.0"));
    assert_eq!(wire.get("/readyz").await.code, 200, "kept, as asked");
}
