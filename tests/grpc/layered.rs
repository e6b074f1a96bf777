//! The same answers on every server that the layer wraps, and from the service that is routed by hand.

use std::{convert::Infallible, net::SocketAddr};

use crate::helpers::grpc::{NOT_SERVING, SERVING, channel, check, client, list, soon, watch};
use crate::helpers::switch::Switch;
use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode, Version};
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, transport::Server};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};
use tower_health::{
    Access, Health, HealthLayer, PeerAddr,
    service::{AnnounceDrainLayer, BusyService, ProbeMark},
};

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
    let plain = || HealthLayer::new(health.clone()).details(Access::loopback());
    let layer = || plain().grpc();
    let service = || health.grpc_service().details(Access::loopback());
    let inner = || {
        service_fn(async |_: Request<Incoming>| {
            Ok::<_, std::io::Error>(Response::new(Body::empty()))
        })
    };
    let limited = ServiceBuilder::new()
        .layer(MapRequestLayer::new(|request: Request<Incoming>| {
            request.map(|body| Limited::new(body, 1 << 20))
        }))
        .layer(layer())
        .service(service_fn(async |_: Request<Limited<Incoming>>| {
            Ok::<_, std::io::Error>(Response::new(Body::empty()))
        }));
    let addresses = [
        (
            "axum, Router::layer",
            axum_serve(router().layer(layer())).await,
        ),
        ("axum, outside", {
            let app = layer().layer(router());
            hyper(app.map_request(|request: Request<Incoming>| request.map(Body::new))).await
        }),
        (
            "axum, routed by hand",
            axum_serve(router().route_service("/grpc.health.v1.Health/{method}", service())).await,
        ),
        ("hyper", hyper(layer().layer(inner())).await),
        (
            "hyper, while busy",
            hyper(layer().layer(BusyService::new(inner()))).await,
        ),
        (
            "hyper, signalled",
            hyper(layer().layer(AnnounceDrainLayer::new(health.clone()).layer(inner()))).await,
        ),
        ("hyper, a body of its own", hyper(limited).await),
        ("hyper, by hand", hyper(service()).await),
        (
            "tonic",
            tonic!(
                Server::builder()
                    .layer(layer())
                    .add_routes(Default::default()),
            ),
        ),
        (
            "tonic, by hand",
            tonic!(Server::builder().add_service(service())),
        ),
        (
            "tonic in axum",
            axum_serve(tonic::service::Routes::new(service()).into_axum_router()).await,
        ),
        (
            "by hand, within the layer without",
            tonic!(Server::builder().layer(plain()).add_service(service()),),
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

/// Without the opt-in, and for a method that there is not, calls reach the inner service.
#[tokio::test]
async fn calls_pass_unless_the_layer_answers_grpc() {
    let layer = HealthLayer::new(Health::builder().build());
    let inner = || {
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("inner"))))
    };
    let (plain, kept) = (layer.clone(), layer.clone().keep_body_type());
    let call = |method: &str| {
        Request::post(format!("/grpc.health.v1.Health/{method}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .body(Body::from("\0\0\0\0\0"))
            .expect("valid")
    };
    for (passed, method) in [
        (
            plain
                .layer(inner())
                .oneshot(call("Check"))
                .await
                .map(|response| response.status()),
            "Check",
        ),
        (
            kept.layer(inner())
                .oneshot(call("Check"))
                .await
                .map(|response| response.status()),
            "Check",
        ),
    ] {
        assert_eq!(passed, Ok(StatusCode::OK), "{method}");
    }
    let grpc = layer.grpc().layer(inner());
    for (method, is_answered) in [
        ("Check", true),
        ("List", true),
        ("Cheque", false),
        ("", false),
    ] {
        let Ok(response) = grpc.clone().oneshot(call(method)).await;
        let is_grpc = response.headers().contains_key("content-type");
        assert_eq!(is_grpc, is_answered, "{method}");
    }
}

/// What is answered at once is marked, and what is waited for.
#[tokio::test]
async fn answers_are_marked_as_probes_are() {
    let layer = HealthLayer::new(Health::builder().build())
        .mark_probes()
        .grpc();
    for method in ["Check", "Watch", "List"] {
        let service = layer.layer(service_fn(async |_: Request<Body>| {
            Ok::<_, std::io::Error>(Response::new(Body::empty()))
        }));
        let request = Request::post(format!("/grpc.health.v1.Health/{method}"))
            .header("content-type", "application/grpc")
            .body(Body::from("\0\0\0\0\0"));
        let response = service.oneshot(request.expect("valid")).await;
        let response = response.expect("never fails");
        assert!(
            response.extensions().get::<ProbeMark>().is_some(),
            "{method}"
        );
    }
}
