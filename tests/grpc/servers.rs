//! The same answers on every server, from the layer and from the service that is routed by hand.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, service::Routes, transport::Server};
use tonic_reflection::{
    pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    server::Builder as ReflectionBuilder,
};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer,
};
use tower_health::{
    Access, Health, HealthLayer, PeerAddr,
    grpc::FILE_DESCRIPTOR_SET,
    service::{AnnounceDrainLayer, BusyService, ProbeMark},
};

use crate::helpers::{
    grpc::{
        NOT_SERVING, SERVING, ask, becomes, channel, check, client, list, listener, serve, soon,
        watch,
    },
    switch::Switch,
    wire,
};

const SERVICE: &str = "/grpc.health.v1.Health/{method}";
/// An empty message.
const EMPTY: &[u8] = b"\0\0\0\0\0";

fn router() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn hyper<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.expect("accepts");
            let service = ServiceBuilder::new()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddr(peer));
                    request
                })
                .service(service.clone());
            tokio::spawn(async move {
                let service = TowerToHyperService::new(service);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn axum(router: Router) -> SocketAddr {
    let (listener, address) = listener().await;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Serves a tonic router with any layers.
macro_rules! tonic {
    ($server:expr) => {{
        let (listener, address) = listener().await;
        tokio::spawn($server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }};
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
    let inner =
        || service_fn(async |_: Request<Incoming>| Ok::<_, BoxError>(Response::new(Body::empty())));
    let limit = || {
        let limited = |request: Request<Incoming>| request.map(|body| Limited::new(body, 1 << 20));
        ServiceBuilder::new().layer(MapRequestLayer::new(limited))
    };
    let limited = layer().layer(service_fn(async |_: Request<Limited<Incoming>>| {
        Ok::<_, BoxError>(Response::new(Body::empty()))
    }));
    let around_axum = layer()
        .layer(router())
        .map_request(|request: Request<Incoming>| request.map(Body::new));
    let announced = AnnounceDrainLayer::new(health.clone()).layer(inner());
    let routed = router().route_service(SERVICE, service());
    let tonic = Server::builder;
    let servers = [
        ("axum in the layer", hyper(around_axum).await),
        ("axum", axum(router().layer(layer())).await),
        ("axum by hand", axum(routed).await),
        ("hyper", hyper(layer().layer(inner())).await),
        (
            "hyper while busy",
            hyper(layer().layer(BusyService::new(inner()))).await,
        ),
        (
            "hyper with drain",
            hyper(layer().layer(announced.clone())).await,
        ),
        ("hyper, limited", hyper(limit().service(limited)).await),
        ("hyper by hand", hyper(service()).await),
        (
            "hyper, limited, by hand",
            hyper(limit().service(service())).await,
        ),
        (
            "tonic",
            tonic!(tonic().layer(layer()).add_routes(Routes::default())),
        ),
        ("tonic by hand", tonic!(tonic().add_service(service()))),
        (
            "tonic by hand in the layer for HTTP",
            tonic!(tonic().layer(http()).add_service(service())),
        ),
        (
            "tonic in axum",
            axum(Routes::new(service()).into_axum_router()).await,
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
        let listed = list(channel(address).await).await.expect("a list");
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
    let Ok(http) = layer.layer(inner()).oneshot(call("Check")).await;
    let kept = layer.clone().keep_body_type().layer(inner());
    let Ok(kept) = kept.oneshot(call("Check")).await;
    assert_eq!(
        (http.status(), kept.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    for headers in [http.headers(), kept.headers()] {
        assert!(!headers.contains_key("content-type"), "{headers:?}");
    }
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
    for address in [hyper(service).await, axum(routes).await] {
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

#[tokio::test]
async fn reflection_lists_all_three_methods() {
    let reflection = ReflectionBuilder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("well-formed");
    let service = Health::builder().build().grpc_service();
    let server = Server::builder()
        .add_service(reflection)
        .add_service(service);
    let mut client = ServerReflectionClient::new(channel(tonic!(server)).await);
    let symbol = MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(symbol),
    };
    let stream = soon(client.server_reflection_info(tokio_stream::iter([request]))).await;
    let answer = soon(stream.expect("a stream").into_inner().message()).await;
    let message = answer
        .expect("a message")
        .and_then(|it| it.message_response);
    let Some(MessageResponse::FileDescriptorResponse(files)) = message else {
        panic!("no file: {message:?}");
    };
    let file = String::from_utf8_lossy(&files.file_descriptor_proto[0]);
    for name in ["HealthCheckRequest", "Check", "Watch", "List"] {
        assert!(file.contains(name), "{name}");
    }
}
