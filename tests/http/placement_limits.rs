//! The layer outside the limits of an app that is full of requests that are stuck.
//!
//! Nothing here measures time: a probe must be answered while the stuck requests are still stuck.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn,
};
use tower_health::{HealthLayer, service::BusyService};

use crate::helpers::{
    server::{listen, serve_axum, serve_hyper, up},
    wire::{self, Wire, soon},
};

/// Requests that the app handles at the same time.
const PLACES: usize = 2;

type Reply = Response<Full<Bytes>>;

/// Requests that are stuck until the test releases them.
#[derive(Clone)]
struct Stuck {
    entered: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl Stuck {
    fn new() -> Self {
        let [entered, gate] = [0, 0].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { entered, gate }
    }

    /// What the app does for a request.
    fn request(&self) -> impl Future<Output = ()> + Send + use<> {
        let Self { entered, gate } = self.clone();
        async move {
            entered.add_permits(1);
            gate.acquire().await.expect("never closed").forget();
        }
    }

    /// Waits until `requests` more of them are inside.
    async fn holds(&self, requests: usize) {
        let all = soon(self.entered.acquire_many(requests as u32)).await;
        all.expect("never closed").forget();
    }

    fn release_all(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

fn layer() -> HealthLayer {
    HealthLayer::new(up())
}

/// tower cannot give a reserved place back: servers drop the clone that holds it, and a buffer keeps it,
/// unless [`BusyService`] is between them.
#[tokio::test]
async fn an_answered_probe_keeps_no_place_of_the_limit() {
    let stuck = Stuck::new();
    let held = stuck.clone();
    let app = service_fn(move |_: Request<()>| {
        let request = held.request();
        async {
            request.await;
            Ok::<_, BoxError>(Reply::default())
        }
    });
    let limited = GlobalConcurrencyLimitLayer::new(1).layer(app);
    let busy = layer().layer(BusyService::new(limited.clone()));
    let buffered = ServiceBuilder::new().buffer(1).service(busy);
    let request = |path| Request::get(path).body(()).expect("valid");
    for _ in 0..3 {
        let probe = layer().layer(limited.clone()).oneshot(request("/readyz"));
        assert_eq!(soon(probe).await.expect("answered").status(), 200);
        let probe = buffered.clone().oneshot(request("/readyz"));
        assert_eq!(soon(probe).await.expect("answered").status(), 200);
    }
    let other = tokio::spawn(limited.oneshot(request("/work")));
    stuck.holds(1).await;
    stuck.release_all();
    soon(other).await.expect("no panic").expect("served");
}

/// Around plain hyper and in tonic the layer is busy. An axum router is always ready. tonic puts its own
/// limit outside all layers, and counts per connection.
#[tokio::test]
async fn real_servers_answer_probes_while_the_app_is_full() {
    let stuck = Stuck::new();
    let limit = || GlobalConcurrencyLimitLayer::new(PLACES);
    let held = stuck.clone();
    let router = Router::new().route("/work", get(async move || held.request().await));
    let held = stuck.clone();
    let app = service_fn(move |_: Request<Incoming>| {
        let request = held.request();
        async {
            request.await;
            Ok::<_, Infallible>(Reply::default())
        }
    });
    let (listener, tonic) = listen().await;
    let layers = ServiceBuilder::new()
        .layer(layer())
        .layer(BusyService::layer());
    let server = Server::builder()
        .accept_http1(true)
        .concurrency_limit_per_connection(1)
        .layer(layers.layer(limit()).into_inner())
        .add_routes(router.clone().into());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let limited = BusyService::new(limit().layer(app));
    let servers: [SocketAddr; 3] = [
        serve_hyper(TowerToHyperService::new(layer().layer(limited))).await,
        serve_axum(router.layer(limit()).layer(layer())).await,
        tonic,
    ];
    // In each of them, half of the requests wait outside the limit.
    let mut requests = Vec::new();
    for address in servers {
        for _ in 0..PLACES * 2 {
            requests.push(tokio::spawn(async move {
                wire::get(address, "/work").await.code
            }));
        }
    }
    stuck.holds(PLACES * servers.len()).await;
    for address in servers {
        // Probers open a connection for each request, or keep one.
        let mut kept = Wire::connect(address).await;
        for _ in 0..3 {
            assert_eq!(wire::get(address, "/readyz").await.code, 200);
            assert_eq!(kept.get("/livez").await.code, 200);
        }
    }
    assert!(requests.iter().all(|request| !request.is_finished()));
    stuck.release_all();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), 200);
    }
}
