//! The same answers on every server, from the layer and from the service that is routed by hand.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Full, Limited};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    service::Routes,
    transport::{Server, server::Router as Services},
};
use tonic_reflection::server::Builder as ReflectionBuilder;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_health::{
    Access, Health, HealthLayer,
    grpc::FILE_DESCRIPTOR_SET,
    service::{AnnounceDrainLayer, BusyService, ProbeMark},
};

use crate::helpers::{
    grpc::{
        HealthListRequest, NOT_SERVING, SERVING, ask, becomes, check, client, list, serve, soon,
        watch,
    },
    server::{listen, serve_axum, serve_hyper},
    switch::Switch,
    wire,
};

const SERVICE: &str = "/grpc.health.v1.Health/{method}";
/// An empty message.
const EMPTY: &[u8] = b"\0\0\0\0\0";

/// By hyper; a body in front of the service has a limit.
async fn hyper<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Limited<Incoming>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let limited = |request: Request<Incoming>| request.map(|body| Limited::new(body, 1 << 20));
    serve_hyper(TowerToHyperService::new(service.map_request(limited))).await
}

#[tokio::test]
async fn every_server_answers_alike() {
    let switch = Switch::on();
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .build();
    let http = || HealthLayer::new(health.clone()).details(Access::loopback());
    let layer = || http().grpc();
    let service = || health.grpc_service().details(Access::loopback());
    let router = || Router::new().route("/", get(async || "hello"));
    let inner = || {
        service_fn(async |_: Request<Limited<Incoming>>| {
            Ok::<_, BoxError>(Response::new(Body::empty()))
        })
    };
    let announced = AnnounceDrainLayer::new(health.clone()).layer(inner());
    let (listener, tonic) = listen().await;
    let services: Services<_> = Server::builder()
        .layer(layer())
        .add_routes(Routes::default());
    tokio::spawn(services.serve_with_incoming(TcpListenerStream::new(listener)));
    let servers = [
        ("axum", serve_axum(router().layer(layer())).await),
        (
            "axum by hand",
            serve_axum(router().route_service(SERVICE, service())).await,
        ),
        ("hyper", hyper(layer().layer(inner())).await),
        (
            "hyper while busy",
            hyper(layer().layer(BusyService::new(inner()))).await,
        ),
        ("hyper with drain", hyper(layer().layer(announced)).await),
        ("hyper by hand", hyper(service()).await),
        (
            "hyper by hand in the layer for HTTP",
            hyper(http().layer(service())).await,
        ),
        ("tonic", tonic),
        ("tonic by hand", serve(service()).await),
        (
            "tonic in axum",
            serve_axum(Routes::new(service()).into_axum_router()).await,
        ),
    ];
    for (server, address) in servers {
        switch.set(true);
        let mut client = client(address).await;
        becomes(&mut client, "", SERVING).await;
        for name in ["orders", "database"] {
            let found = check(&mut client, name).await;
            assert_eq!(found, Ok(SERVING), "{server} {name:?}");
        }
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

fn call(method: &str) -> Request<Body> {
    Request::post(SERVICE.replace("{method}", method))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(Body::from(EMPTY))
        .expect("valid")
}

#[tokio::test]
async fn calls_pass_through_unless_the_layer_answers_grpc() {
    let layer = HealthLayer::new(Health::builder().build()).mark_probes();
    let inner = || {
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("inner"))))
    };
    let Ok(passed) = layer.layer(inner()).oneshot(call("Check")).await;
    assert_eq!(passed.status(), StatusCode::OK);
    assert!(!passed.headers().contains_key("content-type"));
    let grpc = layer.grpc().layer(inner());
    for (method, is_answered) in [
        ("Check", true),
        ("Watch", true),
        ("List", true),
        ("Cheque", false),
        ("", false),
    ] {
        let Ok(response) = grpc.clone().oneshot(call(method)).await;
        let is_grpc = response.headers().contains_key("content-type");
        let is_marked = response.extensions().get::<ProbeMark>().is_some();
        let expected = (is_answered, is_answered);
        assert_eq!((is_grpc, is_marked), expected, "{method}");
    }
}

/// An open stream over HTTP/1.1 would hold its connection, and with it a graceful shutdown.
#[tokio::test]
async fn calls_over_http1_are_refused_before_a_stream_opens() {
    let service = Health::builder().build().grpc_service();
    let routes = Routes::new(service.clone()).into_axum_router();
    for address in [hyper(service).await, serve_axum(routes).await] {
        let mut client = wire::http1(address).await;
        for method in ["Watch", "Check", "List", "Cheque"] {
            let request = Request::post(SERVICE.replace("{method}", method))
                .header("host", "test")
                .header("content-type", "application/grpc")
                .body(Full::from(EMPTY))
                .expect("valid");
            let response = soon(client.send_request(request))
                .await
                .expect("a response");
            assert_eq!(response.status(), 505, "{method}");
            assert_eq!(response.headers()["grpc-status"], "12", "{method}");
            assert_eq!(response.headers()["content-length"], "0", "{method}");
        }
    }
}

/// The peer's address reaches the limits through a real server.
#[tokio::test]
async fn one_connection_opens_a_hundred_watches_at_most() {
    let address = serve(Health::builder().build().grpc_service()).await;
    let mut first = client(address).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(watch(&mut first, "").await);
    }
    let refused = soon(first.watch(ask(""))).await;
    let code = refused.expect_err("over the limit").code();
    assert_eq!(code, Code::ResourceExhausted);
    let mut second = client(address).await;
    assert_eq!(watch(&mut second, "").await.next().await, Ok(SERVING));
    // A watch that ends makes room.
    open.pop();
    soon(async { while first.watch(ask("")).await.is_err() {} }).await;
}

#[test]
fn the_file_descriptor_set_describes_all_three_methods() {
    let reflection = ReflectionBuilder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1();
    assert!(reflection.is_ok(), "well-formed");
    let text = String::from_utf8_lossy(FILE_DESCRIPTOR_SET);
    for name in [
        "grpc.health.v1",
        "HealthCheckRequest",
        "Check",
        "Watch",
        "List",
    ] {
        assert!(text.contains(name), "{name}");
    }
}
