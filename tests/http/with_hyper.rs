//! The layer around tower and hyper services that plain hyper serves, in both versions of HTTP.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::service::TowerToHyperService;
use tower::{Layer, service_fn};
use tower_health::{Access, HealthLayer};

use crate::helpers::{
    server::{down, serve_hyper, up},
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
}

/// An app that echoes, with trailers.
async fn serve(layer: HealthLayer) -> SocketAddr {
    let app = layer.layer(service_fn(async |request: Request<Incoming>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "true".parse().expect("valid"));
        let body = request.into_body();
        let body = body.with_trailers(async { Some(Ok(trailers)) });
        Ok::<_, Infallible>(Response::new(body.boxed_unsync()))
    }));
    serve_hyper(TowerToHyperService::new(app)).await
}

#[tokio::test]
async fn probes_are_answered_and_requests_pass() {
    let address = serve(HealthLayer::new(up())).await;
    for mut client in Client::both(address).await {
        for path in ["/readyz", "/livez", "/startupz", "/health?x"] {
            let answer = client.send("GET", path).await;
            assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
            assert_eq!(answer.header("content-length"), Some("15"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.headers.len(), 3, "each header has its price: {path}");
        }
        let echo = client.send("POST", "/echo").await;
        assert!(!echo.is_probe());
        assert_eq!(echo.body, "hello");
    }
    let request = Request::post("http://localhost/echo").body(Full::from("hello"));
    let response = wire::http2(address)
        .await
        .send_request(request.expect("valid"));
    let body = soon(response)
        .await
        .expect("answered")
        .into_body()
        .collect();
    let body = soon(body).await.expect("a whole body");
    assert_eq!(body.trailers().expect("trailers")["x-end"], "true");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    // Without ages, which would change the length.
    let layer = |health| HealthLayer::new(health).without_measurements();
    let details = r#"{"status":"up","checks":{"database":{"status":"up","required":true}}}"#;
    let layers = [
        // By `PeerAddr`.
        layer(up()).details(Access::loopback()),
        layer(down()).details(Access::everybody()),
        layer(down()),
        layer(up()).allow(Access::nobody()),
    ];
    for (index, layer) in layers.into_iter().enumerate() {
        for mut client in Client::both(serve(layer).await).await {
            for path in ["/livez", "/readyz", "/health?verbose"] {
                let get = client.send("GET", path).await;
                let head = client.send("HEAD", path).await;
                assert_eq!(
                    (head.code, &head.headers),
                    (get.code, &get.headers),
                    "{path}"
                );
                assert_eq!(head.body, "", "{path}");
                assert!(
                    index > 0 || path == "/livez" || get.body == details,
                    "{get:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn failures_and_rejections_keep_the_connection() {
    let address = serve(HealthLayer::new(down())).await;
    for mut client in Client::both(address).await {
        for _ in 0..2 {
            let failure = client.send("GET", "/readyz").await;
            assert_eq!(
                (failure.code, &*failure.body),
                (503, r#"{"status":"down"}"#)
            );
            assert_eq!(failure.header("retry-after"), Some("1"));
            assert_eq!(failure.header("connection"), None);

            let rejection = client.send("POST", "/readyz").await;
            assert_eq!((rejection.code, &*rejection.body), (405, ""));
            assert_eq!(rejection.header("allow"), Some("GET, HEAD"));
            assert!(rejection.is_probe());
        }
    }
}

/// With the feature, `HealthService` is itself a hyper service, around another one.
#[cfg(feature = "hyper")]
#[tokio::test]
async fn hyper_services_are_wrapped_without_an_adapter() {
    let echo = hyper::service::service_fn(async |request: Request<Incoming>| {
        let body = request.into_body().collect().await.expect("arrives");
        Ok::<_, Infallible>(Response::new(Full::new(body.to_bytes())))
    });
    let router = axum::Router::new().route("/work", axum::routing::post(async |body: Bytes| body));
    let layer = HealthLayer::new(down());
    for address in [
        serve_hyper(layer.layer(echo)).await,
        serve_hyper(layer.layer(TowerToHyperService::new(router))).await,
    ] {
        for mut client in Client::both(address).await {
            let probe = client.send("GET", "/readyz").await;
            assert_eq!((probe.code, &*probe.body), (503, r#"{"status":"down"}"#));
            let work = client.send("POST", "/work").await;
            assert_eq!((work.code, &*work.body), (200, "hello"));
        }
    }
}
