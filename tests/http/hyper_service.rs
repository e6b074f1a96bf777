//! The layer's service as hyper's own: called where it stands, without an adapter around it.

use crate::helpers::wire;
use std::{convert::Infallible, net::SocketAddr};

use crate::helpers::wire::soon;
use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::Layer;
use tower_health::{Failure, Health, HealthLayer, Outcome, Reason};

fn layer(up: bool) -> HealthLayer {
    let check = move || async move {
        if up {
            Ok(Outcome::up())
        } else {
            Err(Failure::new(Reason::Refused))
        }
    };
    HealthLayer::new(Health::builder().check("database", check).build())
}

async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.expect("arrives");
    Ok(Response::new(Full::new(body.to_bytes())))
}

#[tokio::test]
async fn probes_are_answered_and_requests_pass_in_front_of_a_hyper_service() {
    let address = serve(layer(true).layer(hyper::service::service_fn(echo))).await;
    let mut kept = wire::Wire::connect(address).await;
    for _ in 0..2 {
        let answer = kept.get("/readyz").await;
        assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        kept.send("POST /work HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello")
            .await;
        let answer = kept.answer().await;
        assert_eq!((answer.code, &*answer.body), (200, "hello"));
    }
}

#[tokio::test]
async fn it_stands_around_an_axum_router_over_http2() {
    let router = Router::new().route("/work", post(async |body: Bytes| body));
    let address = serve(layer(false).layer(TowerToHyperService::new(router))).await;
    let mut client = wire::http2(address).await;
    for (method, path, code, body) in [
        (
            "GET",
            "/readyz",
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"status":"down"}"#,
        ),
        ("GET", "/livez", StatusCode::OK, r#"{"status":"up"}"#),
        ("POST", "/work", StatusCode::OK, "sent"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://test{path}"))
            .body(Full::from("sent"))
            .expect("valid");
        let response = soon(client.send_request(request))
            .await
            .expect("a response");
        assert_eq!(response.status(), code, "{path}");
        let bytes = soon(response.into_body().collect()).await.expect("a body");
        assert_eq!(bytes.to_bytes(), body.as_bytes(), "{path}");
    }
}
