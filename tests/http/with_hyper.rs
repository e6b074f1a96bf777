//! The layer around tower and hyper services that plain hyper serves, in both versions of HTTP.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tower::{Layer, service_fn};
use tower_health::{Access, HealthLayer};

use super::server::{down, serve_hyper, up};
use crate::helpers::wire::{self, soon};

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

    async fn send(&mut self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        self.send_with(method, path, HeaderMap::new()).await
    }

    /// The response without its date. The request's body is `hello`.
    async fn send_with(
        &mut self,
        method: &Method,
        path: &str,
        headers: HeaderMap,
    ) -> Response<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .body(Full::from("hello"))
            .expect("valid");
        request.headers_mut().extend(headers);
        let response = soon(async {
            match self {
                Self::Http1(client) => {
                    client.ready().await?;
                    client.send_request(request).await
                }
                Self::Http2(client) => client.send_request(request).await,
            }
        });
        let (mut head, body) = response.await.expect("answered").into_parts();
        head.headers.remove("date");
        let body = soon(body.collect()).await.expect("a body");
        if let Some(trailers) = body.trailers().cloned() {
            head.extensions.insert(trailers);
        }
        Response::from_parts(head, Full::new(body.to_bytes()))
    }
}

async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.expect("infallible");
    String::from_utf8(body.to_bytes().into()).expect("text")
}

/// An app that echoes, with trailers.
async fn serve(layer: HealthLayer) -> SocketAddr {
    let app = layer.layer(service_fn(async |request: Request<Incoming>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "true".parse().expect("valid"));
        let body = request
            .into_body()
            .with_trailers(async { Some(Ok(trailers)) });
        Ok::<_, Infallible>(Response::new(body.boxed_unsync()))
    }));
    serve_hyper(TowerToHyperService::new(app)).await
}

#[tokio::test]
async fn probes_are_answered_and_requests_pass() {
    let address = serve(HealthLayer::new(up())).await;
    for mut client in Client::both(address).await {
        let is_http2 = matches!(client, Client::Http2(_));
        for path in ["/readyz", "/livez", "/startupz", "/health?x"] {
            let response = client.send(&Method::GET, path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let headers = response.headers();
            assert_eq!(headers["content-length"], "15");
            assert_eq!(headers["cache-control"], "no-store");
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers.len(), 3, "each header has its price: {headers:?}");
            let version = if is_http2 {
                Version::HTTP_2
            } else {
                Version::HTTP_11
            };
            assert_eq!(response.version(), version);
            assert_eq!(text(response).await, r#"{"status":"up"}"#);
        }
        let echo = client.send(&Method::POST, "/echo").await;
        assert!(!echo.headers().contains_key("cache-control"));
        if is_http2 {
            let trailers = echo.extensions().get::<HeaderMap>().expect("trailers");
            assert_eq!(trailers["x-end"], "true");
        }
        assert_eq!(text(echo).await, "hello");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let allowed = Access::predicate(|head| !head.headers().contains_key("x-unauthorized"));
    // Without ages, which would change the length.
    let layer = |health| {
        HealthLayer::new(health)
            .allow(allowed.clone())
            .details(Access::everybody())
            .without_measurements()
    };
    let mut unauthorized = HeaderMap::new();
    unauthorized.insert("x-unauthorized", "1".parse().expect("valid"));
    for health in [up(), down()] {
        for mut client in Client::both(serve(layer(health)).await).await {
            for (path, headers) in [
                ("/livez", HeaderMap::new()),
                ("/readyz", HeaderMap::new()),
                ("/health/database", HeaderMap::new()),
                ("/health", unauthorized.clone()),
            ] {
                let get = client.send_with(&Method::GET, path, headers.clone()).await;
                let head = client.send_with(&Method::HEAD, path, headers).await;
                assert_eq!(head.status(), get.status(), "{path}");
                assert_eq!(head.headers(), get.headers(), "{path}");
                assert_eq!(text(head).await, "", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn failures_and_rejections_keep_the_connection() {
    let address = serve(HealthLayer::new(down())).await;
    for mut client in Client::both(address).await {
        for _ in 0..2 {
            let failure = client.send(&Method::GET, "/readyz").await;
            assert_eq!(failure.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(failure.headers()["retry-after"], "1");
            assert!(!failure.headers().contains_key("connection"));
            assert_eq!(text(failure).await, r#"{"status":"down"}"#);

            let rejection = client.send(&Method::POST, "/readyz").await;
            assert_eq!(rejection.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(rejection.headers()["allow"], "GET, HEAD");
            assert_eq!(rejection.headers()["cache-control"], "no-store");
            assert_eq!(text(rejection).await, "");
        }
    }
}

#[tokio::test]
async fn a_local_peer_gets_details_by_its_peer_addr() {
    let layer = HealthLayer::new(up()).details(Access::loopback());
    for mut client in Client::both(serve(layer).await).await {
        let details = text(client.send(&Method::GET, "/health").await).await;
        let part = r#""checks":{"database":{"status":"up""#;
        assert!(details.contains(part), "{details}");
        let one = client.send(&Method::GET, "/health/database").await;
        assert_eq!(one.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn an_http2_body_without_end_is_not_waited_for() {
    let address = serve(HealthLayer::new(up())).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("connects"));
    let handshake = http2::handshake(TokioExecutor::new(), stream);
    let (mut client, connection) = soon(handshake).await.expect("shakes hands");
    tokio::spawn(connection);
    for (method, code) in [("GET", 200), ("POST", 405)] {
        let endless = tokio_stream::pending::<Result<hyper::body::Frame<Bytes>, Infallible>>();
        let request = Request::builder()
            .method(method)
            .uri("http://localhost/readyz")
            .body(StreamBody::new(endless))
            .expect("valid");
        let response = soon(client.send_request(request)).await.expect("answered");
        assert_eq!(response.status(), code, "{method}");
        soon(response.collect()).await.expect("a whole body");
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
            for _ in 0..2 {
                let probe = client.send(&Method::GET, "/readyz").await;
                assert_eq!(probe.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(text(probe).await, r#"{"status":"down"}"#);
                let work = client.send(&Method::POST, "/work").await;
                assert_eq!(work.status(), StatusCode::OK);
                assert_eq!(text(work).await, "hello");
            }
        }
    }
}
