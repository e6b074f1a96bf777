//! The place of the layer in real servers whose app is full of requests that are stuck.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tower::{
    Layer, ServiceBuilder,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
    service_fn,
};
use tower_health::{HealthLayer, service::BusyService};

use super::server::{listen, serve_axum, serve_hyper, up};
use crate::helpers::{
    stuck::Stuck,
    wire::{self, Wire},
};

/// Requests that the app handles at the same time.
const PLACES: usize = 4;

fn layer() -> HealthLayer {
    HealthLayer::new(up())
}

fn router(stuck: &Stuck) -> Router {
    let stuck = stuck.clone();
    Router::new().route("/work", get(async move || stuck.request().await))
}

async fn assert_answers_probes_while_full(stuck: Stuck, address: SocketAddr) {
    // Twice as many requests as there are places: half of them wait.
    let requests: Vec<_> = (0..PLACES * 2)
        .map(|_| tokio::spawn(async move { wire::get(address, "/work").await.code }))
        .collect();
    stuck.holds(PLACES as u32).await;
    // Probers open a connection for each request, or keep one.
    let mut kept = Wire::connect(address).await;
    for _ in 0..10 {
        assert_eq!(wire::get(address, "/readyz").await.code, 200);
        assert_eq!(kept.get("/livez").await.code, 200);
    }
    assert!(requests.iter().all(|request| !request.is_finished()));
    stuck.release_all();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn hyper_with_a_full_busy_service_answers_probes() {
    let stuck = Stuck::new();
    let held = stuck.clone();
    let app = service_fn(move |_: Request<Incoming>| {
        let request = held.request();
        async {
            request.await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let limited = BusyService::new(ConcurrencyLimit::new(app, PLACES));
    let address = serve_hyper(TowerToHyperService::new(layer().layer(limited))).await;
    assert_answers_probes_while_full(stuck, address).await;
}

/// A `Router` is always ready, since the limits of its routes wait inside their futures.
#[tokio::test]
async fn axum_answers_probes_outside_a_full_limit() {
    let stuck = Stuck::new();
    let limit = GlobalConcurrencyLimitLayer::new(PLACES);
    let address = serve_axum(router(&stuck).layer(limit).layer(layer())).await;
    assert_answers_probes_while_full(stuck, address).await;
}

/// tonic puts its limit outside all layers and counts per connection.
#[tokio::test]
async fn tonic_with_a_full_connection_answers_probes_on_another() {
    let stuck = Stuck::new();
    let layers = ServiceBuilder::new()
        .layer(layer())
        .layer(BusyService::layer())
        .layer(GlobalConcurrencyLimitLayer::new(PLACES));
    let (listener, address) = listen().await;
    let server = Server::builder()
        .accept_http1(true)
        .concurrency_limit_per_connection(1)
        .layer(layers.into_inner())
        .add_routes(router(&stuck).into())
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    assert_answers_probes_while_full(stuck, address).await;
}
