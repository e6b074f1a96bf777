//! The same answers on every server, and what happens to watches when a server stops.

use std::{net::SocketAddr, time::Duration};

use crate::helpers::grpc::{
    NOT_SERVING, SERVING, ask, channel, check, client, list, serve, soon, watch,
};
use crate::helpers::switch::Switch;
use axum::{Router, routing::get};
use http::{Request, Response};
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    service::Routes,
    transport::{Error, Server},
};
use tower::{ServiceBuilder, util::MapRequestLayer};
use tower_health::{Access, Health, HealthLayer, PeerAddr};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

fn router() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Serves whatever makes a service of hyper's own requests.
async fn hyper<S, B>(service: S) -> SocketAddr
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
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

async fn axum_serve(router: Router) -> SocketAddr {
    let (listener, address) = listener().await;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Serves a tonic router, whatever its layers.
macro_rules! tonic {
    ($server:expr $(,)?) => {{
        let (listener, address) = listener().await;
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn($server.serve_with_incoming(incoming));
        address
    }};
}

#[tokio::test]
async fn every_server_answers_alike() {
    let switch = Switch::on();
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .build();
    health.report().await;
    let service = || health.grpc_service().details(Access::loopback());
    let limited = ServiceBuilder::new()
        .layer(MapRequestLayer::new(|request: Request<Incoming>| {
            request.map(|body| Limited::new(body, 1 << 20))
        }))
        .service(service());
    let addresses = [
        (
            "axum",
            axum_serve(router().route_service("/grpc.health.v1.Health/{method}", service())).await,
        ),
        ("hyper", hyper(service()).await),
        ("hyper, another body", hyper(limited).await),
        ("tonic", tonic!(Server::builder().add_service(service()))),
        (
            "tonic, in our layer",
            tonic!(
                Server::builder()
                    .layer(HealthLayer::new(health.clone()))
                    .add_service(service()),
            ),
        ),
        (
            "tonic in axum",
            axum_serve(Routes::new(service()).into_axum_router()).await,
        ),
    ];
    for (server, address) in addresses {
        switch.set(true);
        let mut client = client(address).await;
        soon(async { while check(&mut client, "").await != Ok(SERVING) {} }).await;
        for name in ["", "orders", "database"] {
            assert_eq!(
                check(&mut client, name).await,
                Ok(SERVING),
                "{server} {name:?}"
            );
        }
        assert_eq!(
            check(&mut client, "x").await,
            Err(Code::NotFound),
            "{server}"
        );
        let mut watch = watch(&mut client, "orders").await;
        assert_eq!(watch.next().await, Ok(SERVING), "{server}");
        switch.set(false);
        assert_eq!(watch.next().await, Ok(NOT_SERVING), "{server}");
        let listed = list(channel(address).await).await.expect("listed");
        assert_eq!(listed.len(), 3, "{server} {listed:?}");
    }
}

#[tokio::test]
async fn reflection_lists_all_three_methods() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tower_health::grpc::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("well-formed");
    let health = Health::builder().build();
    let server = Server::builder()
        .add_service(reflection)
        .add_service(health.grpc_service());
    let mut client = ServerReflectionClient::new(channel(tonic!(server)).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(
            "grpc.health.v1.Health".to_owned(),
        )),
    };
    let response = soon(client.server_reflection_info(tokio_stream::iter([request])))
        .await
        .expect("answered");
    let answer = soon(response.into_inner().message())
        .await
        .expect("answered");
    let Some(MessageResponse::FileDescriptorResponse(files)) =
        answer.and_then(|answer| answer.message_response)
    else {
        panic!("no file");
    };
    let file = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
    for name in ["HealthCheckRequest", "Check", "Watch", "List"] {
        assert!(file.contains(name), "{name}");
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
    let refused = soon(first.watch(ask(""))).await.expect_err("one too many");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let mut second = client(address).await;
    assert_eq!(watch(&mut second, "").await.next().await, Ok(SERVING));
    // Room again once one ends.
    open.pop();
    soon(async { while first.watch(ask("")).await.is_err() {} }).await;
}

/// A tonic server that stops gracefully after the sender's message and `before_stop`.
async fn stoppable(
    routes: Routes,
    before_stop: impl Future<Output = ()> + Send + 'static,
) -> (
    SocketAddr,
    oneshot::Sender<()>,
    JoinHandle<Result<(), Error>>,
) {
    let (listener, address) = listener().await;
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
        before_stop.await;
    };
    let server = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown);
    (address, stop, tokio::spawn(server))
}

#[tokio::test]
async fn open_watches_do_not_hold_a_shutdown_after_a_drain() {
    for drains in [true, false] {
        let switch = Switch::on();
        let health = Health::builder().add(switch.dependency("database")).build();
        health.report().await;
        let routes = Routes::new(health.grpc_service());
        let (address, stop, server) = stoppable(routes, async move {
            if drains {
                health.drain(Duration::from_millis(300)).await;
            } else {
                health.set_draining(true);
            }
        })
        .await;
        let mut client = client(address).await;
        let mut watches = Vec::new();
        for name in ["", "unknown", "liveness"] {
            let mut watch = watch(&mut client, name).await;
            watch.next().await.expect("a status");
            watches.push(watch);
        }
        stop.send(()).expect("still listening");
        assert_eq!(watches[0].next().await, Ok(NOT_SERVING));
        for watch in &mut watches {
            assert_eq!(watch.next().await, Err(Code::Unavailable));
        }
        soon(server).await.expect("does not panic").expect("stops");
    }
}

/// The server waits for its clients, as around tonic-health, and stops once they are gone.
#[tokio::test]
async fn without_a_drain_watches_behave_as_with_tonic_health() {
    let switch = Switch::on();
    let health = Health::builder().add(switch.dependency("database")).build();
    health.report().await;
    let ours = Routes::new(health.grpc_service());
    let theirs = Routes::new(tonic_health::server::health_reporter().1);
    for (name, routes) in [("ours", ours), ("tonic-health", theirs)] {
        let (address, stop, server) = stoppable(routes, async {}).await;
        let mut client = client(address).await;
        let mut open = watch(&mut client, "").await;
        assert_eq!(open.next().await, Ok(SERVING), "{name}");
        stop.send(()).expect("still listening");
        // Neither ends the watch, and neither lets the server stop before the client does.
        let silent = open.is_silent_for(Duration::from_millis(300)).await;
        assert!(silent && !server.is_finished(), "{name}");
        drop((open, client));
        soon(server).await.expect("does not panic").expect("stops");
    }
}

/// An open stream over HTTP/1.1 would keep its connection, and with it a graceful shutdown, open.
#[tokio::test]
async fn calls_over_http1_are_refused_before_a_stream_opens() {
    let health = Health::builder().build();
    let service = health.grpc_service();
    let routes = Routes::new(service.clone()).into_axum_router();
    for address in [hyper(service).await, axum_serve(routes).await] {
        let mut client = crate::helpers::wire::http1(address).await;
        for method in ["Watch", "Check", "List", "Cheque"] {
            let request = Request::post(format!("/grpc.health.v1.Health/{method}"))
                .header("host", "test")
                .header("content-type", "application/grpc")
                .body(http_body_util::Full::from(&b"\0\0\0\0\0"[..]))
                .expect("valid");
            let response = soon(client.send_request(request)).await.expect("answered");
            assert_eq!(response.status(), 505, "{method}");
            assert_eq!(response.headers()["grpc-status"], "12", "{method}");
            assert_eq!(response.headers()["content-length"], "0", "{method}");
        }
    }
}
