//! Where the layer stands in real servers whose app is full of requests that are stuck.

use crate::helpers::wire;
use std::{convert::Infallible, net::SocketAddr, time::Duration};

use crate::helpers::stuck::Stuck;
use crate::helpers::wire::{Wire, soon};
use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tower::{
    Layer, ServiceBuilder,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
    service_fn,
};
use tower_health::{Health, HealthLayer, Outcome, service::BusyService};

/// Requests that the app takes at a time.
const PLACES: usize = 4;

async fn fill(stuck: &Stuck, address: SocketAddr) -> Vec<JoinHandle<u16>> {
    // Twice as many as there are places: half of them wait.
    let requests = (0..PLACES * 2)
        .map(|_| tokio::spawn(async move { wire::get(address, "/work").await.code }))
        .collect();
    stuck.holds(PLACES as u32).await;
    requests
}

/// Asks while the app is full, and then lets the app go on.
async fn probes_are_answered_meanwhile(stuck: Stuck, address: SocketAddr) {
    let requests = fill(&stuck, address).await;
    // On a connection of its own each, as probers do, and on one that is kept.
    let mut kept = Wire::connect(address).await;
    for _ in 0..20 {
        assert_eq!(wire::get(address, "/readyz").await.code, 200);
        assert_eq!(kept.get("/livez").await.code, 200);
    }
    assert!(requests.iter().all(|request| !request.is_finished()));
    stuck.release_all();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), 200);
    }
}

/// The opposite: a probe is behind those that wait.
async fn a_probe_waits_with_them(stuck: Stuck, address: SocketAddr) {
    let requests = fill(&stuck, address).await;
    let mut probe = wire::http1(address).await;
    let asked = ask(&mut probe);
    // No answer can come while nothing lets a request out; the time only gives a wrong one
    // the chance to arrive.
    let mut asked = std::pin::pin!(asked);
    assert!(
        timeout(Duration::from_millis(50), &mut asked)
            .await
            .is_err()
    );
    stuck.release_all();
    assert_eq!(soon(asked).await, 200);
    for request in requests {
        assert_eq!(request.await.expect("no panic"), 200);
    }
}

async fn ask(client: &mut SendRequest<Full<Bytes>>) -> u16 {
    let request = Request::get("/readyz").header("host", "test");
    let request = request.body(Full::default()).expect("valid");
    let response = client.send_request(request).await.expect("answered");
    response.status().as_u16()
}

fn layer() -> HealthLayer {
    HealthLayer::new(
        Health::builder()
            .check("database", async || Ok(Outcome::up()))
            .build(),
    )
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

async fn serve(router: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn hyper_with_a_full_limit_answers_probes_when_busy() {
    let stuck = Stuck::new();
    let app = stuck.clone();
    let app = service_fn(move |_: Request<Incoming>| {
        let request = app.request();
        async {
            request.await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let app = layer().layer(BusyService::new(ConcurrencyLimit::new(app, PLACES)));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    probes_are_answered_meanwhile(stuck, address).await;
}

fn router(stuck: &Stuck) -> Router {
    let stuck = stuck.clone();
    Router::new().route("/work", get(async move || stuck.request().await))
}

/// A `Router` is always ready: its routes' limits wait inside their futures. Plain is enough.
#[tokio::test]
async fn axum_answers_probes_outside_the_limit() {
    let stuck = Stuck::new();
    let limit = GlobalConcurrencyLimitLayer::new(PLACES);
    let router = router(&stuck).layer(limit).layer(layer());
    let address = serve(router).await;
    probes_are_answered_meanwhile(stuck, address).await;
}

#[tokio::test]
async fn axum_makes_probes_wait_inside_the_limit() {
    let stuck = Stuck::new();
    let limit = GlobalConcurrencyLimitLayer::new(PLACES);
    let router = router(&stuck).layer(layer()).layer(limit);
    let address = serve(router).await;
    a_probe_waits_with_them(stuck, address).await;
}

/// tonic puts its own limit outside of all layers, and counts per connection.
#[tokio::test]
async fn tonic_with_a_full_connection_answers_probes_on_another() {
    let stuck = Stuck::new();
    let router = router(&stuck);
    let (listener, address) = listen().await;
    let server = Server::builder()
        .accept_http1(true)
        .concurrency_limit_per_connection(1)
        .layer(
            ServiceBuilder::new()
                .layer(layer())
                .layer(BusyService::layer())
                .layer(GlobalConcurrencyLimitLayer::new(PLACES))
                .into_inner(),
        )
        .add_routes(router.into())
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    probes_are_answered_meanwhile(stuck, address).await;
}
