//! The place of the layer: in axum routers, between layers of tower-http, and outside the limits of a full app.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn,
};
use tower_health::{Access, HealthLayer, service::BusyService};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, normalize_path::NormalizePathLayer,
    trace::TraceLayer,
};

use crate::helpers::{
    server::{serve_axum, serve_hyper, up},
    wire::{self, Answer, Wire, soon},
};

fn layer() -> HealthLayer {
    HealthLayer::new(up())
}

async fn send(router: &Router, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("accept-encoding", "gzip");
    let request = request.body(Body::empty()).expect("valid");
    let Ok(response) = router.clone().oneshot(request).await;
    Answer::of(response).await
}

/// `Router::layer` wraps the routes and the fallback that are there.
#[tokio::test]
async fn the_place_of_the_layer_decides_which_paths_are_probes() {
    let app = || Router::new().route("/readyz", get(async || "app"));
    let nested = Router::new().fallback(async || "app").layer(layer());
    // Whether `/readyz` and `/api/readyz` are probes.
    for (case, router, expected) in [
        ("around everything", app().layer(layer()), [true, false]),
        ("nested", app().nest("/api", nested), [false, true]),
        (
            "before a fallback",
            Router::new().layer(layer()).fallback(async || "app"),
            [false; 2],
        ),
    ] {
        for (path, expected) in ["/readyz", "/api/readyz"].into_iter().zip(expected) {
            let answer = send(&router, "GET", path).await;
            assert_eq!(answer.is_probe(), expected, "{case}: {path}");
        }
    }
}

#[tokio::test]
async fn only_outer_layers_see_probes() {
    let others = ServiceBuilder::new()
        .layer(NormalizePathLayer::trim_trailing_slash())
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .into_inner();
    let app = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from("index ".repeat(100))))
    });
    let probes = layer().details(Access::everybody());
    let outside = ServiceBuilder::new().layer(&others).layer(&probes);
    let inside = ServiceBuilder::new().layer(&probes).layer(&others);
    for (router, is_outside) in [
        (Router::new().fallback_service(outside.service(app)), true),
        (Router::new().fallback_service(inside.service(app)), false),
    ] {
        let probe = send(&router, "GET", "/health").await;
        assert!(probe.code == 200 && probe.is_probe(), "{probe:?}");
        let is_compressed = probe.header("content-encoding") == Some("gzip");
        assert_eq!(is_compressed, is_outside);
        let slash = send(&router, "GET", "/readyz/").await;
        assert_eq!(slash.is_probe(), is_outside);
        // A preflight of CORS inside ours would be a method that is not allowed.
        let preflight = send(&router, "OPTIONS", "/readyz").await;
        assert_eq!(preflight.code, if is_outside { 200 } else { 405 });
        let index = send(&router, "GET", "/").await;
        assert_eq!(index.header("content-encoding"), Some("gzip"));
    }
}

/// Requests that the app handles at the same time.
const PLACES: usize = 2;

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
    async fn request(self) -> Response<Full<Bytes>> {
        self.entered.add_permits(1);
        self.gate.acquire().await.expect("never closed").forget();
        Response::default()
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

/// tower cannot give a reserved place back: servers drop the clone that holds it, and a buffer keeps it,
/// unless [`BusyService`] is between them.
#[tokio::test]
async fn an_answered_probe_keeps_no_place_of_the_limit() {
    let stuck = Stuck::new();
    let held = stuck.clone();
    let app = service_fn(move |_: Request<()>| {
        let request = held.clone().request();
        async { Ok::<_, BoxError>(request.await) }
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

/// Nothing here measures time: a probe must be answered while the stuck requests are still stuck.
#[tokio::test]
async fn real_servers_answer_probes_while_the_app_is_full() {
    let stuck = Stuck::new();
    let limit = || GlobalConcurrencyLimitLayer::new(PLACES);
    let held = stuck.clone();
    let app = service_fn(move |_: Request<Incoming>| {
        let request = held.clone().request();
        async { Ok::<_, Infallible>(request.await) }
    });
    let held = stuck.clone();
    let router = Router::new().route("/work", get(async move || drop(held.request().await)));
    let limited = BusyService::new(limit().layer(app));
    let servers = [
        serve_hyper(TowerToHyperService::new(layer().layer(limited))).await,
        // A router is always ready.
        serve_axum(router.layer(limit()).layer(layer())).await,
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
