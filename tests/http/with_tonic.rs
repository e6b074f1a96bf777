//! The layer around a tonic server: HTTP probes next to a gRPC service.

use crate::helpers::wire;
use std::net::SocketAddr;

use crate::helpers::wire::{Wire, soon};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    transport::{Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tower_health::{Access, Health, HealthLayer, Outcome};

/// tonic's own health service stands for any service of the app.
async fn serve(layer: HealthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("app", ServingStatus::Serving)
        .await;
    let server = Server::builder()
        .accept_http1(true)
        .layer(layer)
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

fn layer() -> HealthLayer {
    HealthLayer::new(
        Health::builder()
            .check("database", async || Ok(Outcome::up()))
            .build(),
    )
}

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn a_probe_is_answered_beside_a_grpc_service() {
    let address = serve(layer()).await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("valid");
    let mut grpc = HealthClient::new(soon(endpoint.connect()).await.expect("connects"));
    for _ in 0..3 {
        let answer = wire::get(address, "/readyz").await;
        assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let reply = soon(grpc.check(asked("app"))).await.expect("serves");
        assert_eq!(reply.into_inner().status, 1);
        // A status in the head alone, as tonic makes it.
        let error = soon(grpc.check(asked("unknown"))).await.expect_err("none");
        assert_eq!(error.code(), Code::NotFound);
    }
    // A stream that stays open, and its first message.
    let mut watch = soon(grpc.watch(asked("app")))
        .await
        .expect("serves")
        .into_inner();
    let first = soon(watch.message()).await.expect("no error");
    assert_eq!(first.expect("a message").status, 1);
}

#[tokio::test]
async fn a_probe_shares_a_connection_with_grpc_over_http2() {
    let address = serve(layer()).await;
    let mut client = wire::http2(address).await;
    for method in [Method::GET, Method::HEAD] {
        let probe = Request::builder()
            .method(&method)
            .uri(format!("http://{address}/health"))
            .body(Full::default())
            .expect("valid");
        let response = soon(client.send_request(probe)).await.expect("answered");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-length"], "15");
        let body = response.collect().await.expect("a body").to_bytes();
        assert_eq!(body.is_empty(), method == Method::HEAD);
    }

    // A call by hand, to see its trailers: `HealthCheckRequest { service: "app" }` in a frame.
    let call = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x05\x0a\x03app")))
        .expect("valid");
    let response = soon(client.send_request(call)).await.expect("answered");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let body = soon(response.collect()).await.expect("a body");
    let trailers = body.trailers().expect("trailers come through");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(body.to_bytes(), &b"\0\0\0\0\x02\x08\x01"[..], "SERVING");
}

#[tokio::test]
async fn a_probe_is_refused_other_methods_and_unauthorized_callers_learn_nothing() {
    let address = serve(layer()).await;
    let mut wire = Wire::connect(address).await;
    wire.send("POST /readyz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.code, 405);
    // tonic's own answer to a path that no service has.
    let below = wire.get("/health/database").await;
    assert_eq!(below.header("grpc-status"), Some("12"));
}

#[tokio::test]
async fn a_local_peer_of_tonic_sees_details_where_the_feature_is_on() {
    let address = serve(layer().details(Access::loopback())).await;
    let answer = wire::get(address, "/health").await;
    let sees = answer.body.contains(r#""database":{"status":"up""#);
    assert_eq!(sees, cfg!(feature = "tonic"), "{}", answer.body);
    let one = wire::get(address, "/health/database").await;
    assert_eq!(one.header("grpc-status").is_none(), sees);

    let mut wire = Wire::connect(address).await;
    wire.send("GET /health HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 127.0.0.1\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.body, r#"{"status":"up"}"#);
}
