//! Four programs as a new user would write them from the documentation, each with what it promises.

use std::{
    convert::Infallible,
    future::pending,
    marker::PhantomData,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, body::Body, server::NamedService, transport::Server};
use tower::{Service, ServiceBuilder, service_fn};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, PeerAddr, Probe, Reason,
    access::InvalidNetwork,
    checks::{Heartbeat, Switch},
};

use crate::{
    helpers::{
        grpc::{NOT_SERVING, SERVING, check, client, watch},
        peers::health_of,
        wire,
    },
    support::{MAXIMUM_WAIT, wait_until},
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

async fn becomes(address: SocketAddr, path: &str, code: u16) -> Value {
    let mut body = String::new();
    wait_until(&format!("{path} is {code}"), MAXIMUM_WAIT, async || {
        let response = wire::get(address, path).await;
        body = response.body;
        response.code == code
    })
    .await;
    serde_json::from_str(&body).expect("JSON")
}

/// axum with nested routers, behind a proxy on this host.
fn nested_app(health: Health) -> Result<Router, InvalidNetwork> {
    let operators = Access::networks(["203.0.113.0/24"])?.trusted_proxies(["127.0.0.1"])?;
    let v1 = Router::new().route("/orders", get(async || "orders\n"));
    let api = Router::new().nest("/v1", v1);
    Ok(Router::new()
        .nest("/api", api)
        .layer(HealthLayer::new(health).details(operators)))
}

#[tokio::test]
async fn behind_a_proxy_the_forwarded_client_decides_on_details() {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let (listener, address) = listen().await;
    let app = nested_app(health).expect("valid networks");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, app).into_future());

    assert_eq!(wire::get(address, "/api/v1/orders").await.body, "orders\n");
    for nested in ["/api/readyz", "/api/v1/readyz"] {
        assert_eq!(wire::get(address, nested).await.code, 404, "{nested}");
    }
    for (peer, client, has_details) in [
        ("127.0.0.1", "203.0.113.9", true),
        ("127.0.0.1", "198.51.100.1", false),
        ("127.0.0.1", "203.0.113.9, 198.51.100.1", false),
        ("127.0.0.2", "203.0.113.9", false),
    ] {
        let (_, body) = health_of(address, peer, &[("x-forwarded-for", client)]).await;
        assert_eq!(
            body.contains("database"),
            has_details,
            "{peer} for {client}"
        );
    }
}

/// A gRPC service without methods, in place of a generated one.
#[derive(Clone)]
struct NoMethods<N>(PhantomData<N>);

#[derive(Clone)]
struct Orders;

#[derive(Clone)]
struct Search;

impl NamedService for NoMethods<Orders> {
    const NAME: &'static str = "shop.v1.Orders";
}

impl NamedService for NoMethods<Search> {
    const NAME: &'static str = "shop.v1.Search";
}

impl<N> Service<Request<Body>> for NoMethods<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(Status::unimplemented("").into_http()))
    }
}

#[tokio::test]
async fn a_group_down_takes_only_its_grpc_service_out() {
    let (orders, search) = (
        NoMethods::<Orders>(PhantomData),
        NoMethods::<Search>(PhantomData),
    );
    let (ledger, index) = (Switch::new(), Switch::new());
    let health = Health::builder()
        .add(
            Dependency::new("ledger", ledger.clone())
                .optional()
                .group("orders"),
        )
        .add(
            Dependency::new("index", index.clone())
                .optional()
                .group("search"),
        )
        .map_grpc_service(
            <NoMethods<Orders> as NamedService>::NAME,
            Probe::group("orders"),
        )
        .map_grpc_service(
            <NoMethods<Search> as NamedService>::NAME,
            Probe::group("search"),
        )
        .build();
    let (listener, address) = listen().await;
    let server = Server::builder()
        .accept_http1(true)
        .layer(
            HealthLayer::new(health.clone())
                .details(Access::loopback())
                .grpc(),
        )
        .add_service(orders)
        .add_service(search)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let mut client = client(address).await;
    let mut orders = watch(&mut client, "shop.v1.Orders").await;
    let mut search = watch(&mut client, "shop.v1.Search").await;
    let mut server = watch(&mut client, "").await;
    for watch in [&mut orders, &mut search, &mut server] {
        assert_eq!(watch.next().await, Ok(SERVING));
    }
    ledger.set_down("the ledger is closed");
    assert_eq!(orders.next().await, Ok(NOT_SERVING));
    assert_eq!(check(&mut client, "shop.v1.Search").await, Ok(SERVING));
    assert_eq!(check(&mut client, "").await, Ok(SERVING));
    assert_eq!(becomes(address, "/readyz", 200).await["status"], "degraded");
    ledger.set_up();
    assert_eq!(orders.next().await, Ok(SERVING));
    index.set_down("the index is rebuilt");
    assert_eq!(search.next().await, Ok(NOT_SERVING));
    assert_eq!(check(&mut client, "shop.v1.Orders").await, Ok(SERVING));
    health.enter_maintenance("an upgrade");
    assert_eq!(orders.next().await, Ok(NOT_SERVING));
    assert_eq!(server.next().await, Ok(NOT_SERVING));
}

/// Plain hyper, one service for each connection.
async fn serve_hyper(listener: TcpListener, health: Health) {
    let layer = HealthLayer::new(health).details(Access::loopback());
    while let Ok((stream, peer)) = listener.accept().await {
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                request
            })
            .layer(layer.clone())
            .service(service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello\n")))
            }));
        let service = TowerToHyperService::new(service);
        tokio::spawn(async move {
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[tokio::test]
async fn closures_are_added_and_removed_at_run_time() {
    let is_connected = Arc::new(AtomicBool::new(true));
    let connected = is_connected.clone();
    let broker = move || {
        let is_connected = connected.load(Ordering::Relaxed);
        async move {
            match is_connected {
                true => Ok(Outcome::up().observe("broker", "b1")),
                false => Err(Failure::new(Reason::Refused).message("the broker is gone")),
            }
        }
    };
    let health = Health::builder().check("broker", broker).build();
    let (listener, address) = listen().await;
    tokio::spawn(serve_hyper(listener, health.clone()));
    assert_eq!(becomes(address, "/readyz", 200).await["status"], "up");
    assert_eq!(wire::get(address, "/").await.body, "hello\n");

    is_connected.store(false, Ordering::Relaxed);
    let body = becomes(address, "/readyz", 503).await;
    assert_eq!(body["checks"]["broker"]["message"], "the broker is gone");
    assert!(health.remove("broker"));
    becomes(address, "/readyz", 200).await;

    let tenant = async || Err::<Outcome, Failure>(std::io::Error::other("no such tenant").into());
    health
        .add(Dependency::new("tenant", tenant))
        .expect("a new name");
    let body = becomes(address, "/readyz", 503).await;
    assert_eq!(body["checks"]["tenant"]["reason"], "failed");
    assert!(health.add(Dependency::new("tenant", tenant)).is_err());
    assert!(health.remove("tenant"));

    health.enter_maintenance("a migration");
    let body = becomes(address, "/readyz", 503).await;
    assert_eq!(body["reason"], "maintenance", "{body}");
    assert_eq!(wire::get(address, "/livez").await.code, 200);
    health.exit_maintenance();
    becomes(address, "/readyz", 200).await;
}

const PERIOD: Duration = Duration::from_secs(1);

/// A worker: it waits for jobs as long as it takes, and a job must not take longer than the period.
async fn work(mut jobs: mpsc::Receiver<bool>, heartbeat: Heartbeat) {
    while let Some(hangs) = heartbeat.while_waiting(jobs.recv()).await {
        if hangs {
            pending::<()>().await;
        }
        heartbeat.beat();
    }
}

#[tokio::test]
async fn only_a_worker_that_hangs_fails_liveness() {
    let heartbeat = Heartbeat::new(PERIOD);
    let health = Health::builder()
        .liveness_check("worker", heartbeat.clone())
        .check("queue", async || {
            Err::<Outcome, _>(Failure::new(Reason::Refused))
        })
        .build();
    let (jobs, received) = mpsc::channel(1);
    tokio::spawn(work(received, heartbeat));
    let (listener, address) = listen().await;
    let management = Router::new().layer(HealthLayer::new(health).details(Access::everybody()));
    tokio::spawn(axum::serve(listener, management).into_future());

    jobs.send(false).await.expect("the worker runs");
    let idle = Instant::now();
    while idle.elapsed() < PERIOD * 3 {
        let response = wire::get(address, "/livez").await;
        assert_eq!(response.code, 200, "{}", response.body);
    }
    becomes(address, "/readyz", 503).await;
    jobs.send(true).await.expect("the worker runs");
    let body = becomes(address, "/livez", 503).await;
    assert_eq!(body["checks"]["worker"]["status"], "down", "{body}");
    assert_eq!(wire::get(address, "/").await.code, 404);
}
