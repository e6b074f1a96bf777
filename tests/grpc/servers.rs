//! The same answers on every server, from the layer and from the service that is routed by hand.

use std::convert::Infallible;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, service::Routes, transport::Server};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Health, HealthLayer,
    grpc::FILE_DESCRIPTOR_SET,
    service::{AnnounceDrainLayer, BusyService, ProbeMark},
};

use crate::helpers::{
    grpc::{
        HealthListRequest, NOT_SERVING, SERVING, becomes, check, client, list, serve, soon, watch,
    },
    server::{listen, serve_axum, serve_hyper},
    switch::Switch,
    wire,
};

#[tokio::test]
async fn every_server_answers_alike() {
    let switch = Switch::on();
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .build();
    let http = || HealthLayer::new(health.clone()).details(Access::loopback());
    let service = || health.grpc_service().details(Access::loopback());
    let inner =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let announced = AnnounceDrainLayer::new(health.clone()).layer(inner);
    let busy = http().grpc().layer(BusyService::new(announced));
    let by_hand = http().layer(service());
    let (listener, tonic) = listen().await;
    let mut services = Server::builder().layer(http().grpc());
    let services = services.add_routes(Routes::default());
    tokio::spawn(services.serve_with_incoming(TcpListenerStream::new(listener)));
    for (server, address) in [
        ("axum", serve_axum(Router::new().layer(http().grpc())).await),
        ("hyper", serve_hyper(TowerToHyperService::new(busy)).await),
        (
            "hyper by hand",
            serve_hyper(TowerToHyperService::new(by_hand)).await,
        ),
        ("tonic", tonic),
        ("tonic by hand", serve(service()).await),
    ] {
        switch.set(true);
        let mut client = client(address).await;
        becomes(&mut client, "orders", SERVING).await;
        let unknown = check(&mut client, "x").await;
        assert_eq!(unknown, Err(Code::NotFound), "{server}");
        let listed = list(address, HealthListRequest {}).await.expect("a list");
        assert_eq!(listed.len(), 3, "{server} {listed:?}");
        let mut watch = watch(&mut client, "orders").await;
        assert_eq!(watch.next().await, Ok(SERVING), "{server}");
        switch.set(false);
        assert_eq!(watch.next().await, Ok(NOT_SERVING), "{server}");
    }
}

/// With an empty message.
fn call(method: &str) -> Request<Full<Bytes>> {
    Request::post(format!("/grpc.health.v1.Health/{method}"))
        .version(Version::HTTP_2)
        .header("host", "test")
        .header("content-type", "application/grpc")
        .body(Bytes::from_static(b"\0\0\0\0\0").into())
        .expect("valid")
}

#[tokio::test]
async fn calls_pass_through_unless_the_layer_answers_grpc() {
    let layer = HealthLayer::new(Health::builder().build()).mark_probes();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let answers = |response: Response<_>| {
        let is_marked = response.extensions().get::<ProbeMark>().is_some();
        (response.headers().contains_key("content-type"), is_marked)
    };
    let Ok(passed) = layer.layer(inner).oneshot(call("Check")).await;
    assert_eq!(answers(passed.map(drop)), (false, false));
    let grpc = layer.clone().grpc();
    let forwards = layer.allow(Access::nobody()).forward_denied().grpc();
    for (layer, method, expected) in [
        (&grpc, "Check", (true, true)),
        (&grpc, "Cheque", (false, false)),
        (&forwards, "Check", (false, false)),
    ] {
        let Ok(response) = layer.layer(inner).oneshot(call(method)).await;
        assert_eq!(answers(response.map(drop)), expected, "{method}");
    }
}

/// An open stream over HTTP/1.1 would hold its connection, and with it a graceful shutdown.
#[tokio::test]
async fn calls_over_http1_are_refused_before_a_stream_opens() {
    let service = Health::builder().build().grpc_service();
    let address = serve_hyper(TowerToHyperService::new(service)).await;
    let mut client = wire::http1(address).await;
    let mut request = call("Watch");
    *request.version_mut() = Version::HTTP_11;
    let response = soon(client.send_request(request)).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 505);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["content-length"], "0");
}

#[test]
fn the_file_descriptor_set_describes_all_three_methods() {
    let text = String::from_utf8_lossy(FILE_DESCRIPTOR_SET);
    for name in ["grpc.health.v1", "\u{5}Check", "\u{5}Watch", "\u{4}List"] {
        assert!(text.contains(name), "{name}");
    }
}
