//! Tower middleware that answers health probes from the pools that the app uses.
//!
//! [`HealthLayer`] answers a few paths in front of any HTTP service and passes every other request through unchanged.
//! The results come from a [`Health`]: a handle that checks the app's dependencies, each in one detached run at
//! a time, and caches the results.
//!
//! | path | probe | 503 if |
//! |---|---|---|
//! | `/livez` | should the process be restarted? | an in-process check is down |
//! | `/readyz` | should it get traffic? | starting, draining, in maintenance, or a required dependency is down or unknown |
//! | `/startupz` | has it been ready once? | not yet |
//! | `/health` | how is everything? | a required dependency is down or unknown |
//!
//! `{path}/{name}` answers for one dependency, to callers with details.
//!
//! # Serve with axum
//!
//! Features `axum`, `postgres`, `signal` and `tracing`; `tracing-subscriber` prints the log. The README also sets TCP timeouts.
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "postgres", feature = "signal"))]
//! # mod recipe {
//! use std::{env, error::Error, net::SocketAddr, time::Duration};
//! use axum::{Router, routing::get};
//! use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
//! use tokio::net::TcpListener;
//! use tower_health::{Access, Health, HealthLayer, checks, checks::ConnectTimeoutManager};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn Error>> {
//!     tracing_subscriber::fmt::init(); // logs each transition with its cause
//!     let manager = PostgresConnectionManager::new(env::var("DATABASE_URL")?.parse()?, NoTls);
//!     let pool = bb8::Pool::builder()
//!         .connection_timeout(Duration::from_secs(3))
//!         .build_unchecked(ConnectTimeoutManager::new(manager));
//!     let health = Health::builder().check("database", checks::postgres(pool.clone())).build();
//!     let app = Router::new()
//!         .route("/", get(async || "hello"))
//!         .layer(HealthLayer::new(health.clone()).details(Access::loopback()));
//!     let listener = TcpListener::bind("0.0.0.0:3000").await?; // `/readyz` is 503 until the database is up
//!     axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
//!         .with_graceful_shutdown(health.drain_on_shutdown_signal(Duration::from_secs(5)))
//!         .await?;
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! # Serve with tonic
//!
//! Features `grpc` and `signal`. One port answers `grpc.health.v1` and the HTTP probes. The closure is a
//! placeholder for a real check.
//!
//! ```no_run
//! # #[cfg(all(feature = "grpc", feature = "signal"))]
//! # mod recipe {
//! # fn services() -> tonic::service::Routes { tonic::service::Routes::default() }
//! use std::time::Duration;
//! use tonic::transport::{Error, Server};
//! use tower_health::{Access, Health, HealthLayer, Outcome};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let health = Health::builder().check("database", async || Ok(Outcome::up())).build();
//!     Server::builder()
//!         .accept_http1(true) // for probes over HTTP/1.1
//!         .layer(HealthLayer::new(health.clone()).grpc().details(Access::loopback()))
//!         .add_routes(services())
//!         .serve_with_shutdown(
//!             ([0, 0, 0, 0], 50051).into(),
//!             health.drain_on_shutdown_signal(Duration::from_secs(5)),
//!         )
//!         .await
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! # Serve with hyper
//!
//! hyper does not record the peer address. Insert it, or every caller is denied details.
//!
//! ```no_run
//! use std::{convert::Infallible, error::Error};
//! use http::{Request, Response};
//! use hyper::body::Incoming;
//! use hyper_util::{rt::{TokioExecutor, TokioIo}, server::conn::auto, service::TowerToHyperService};
//! use tokio::net::TcpListener;
//! use tower::{ServiceBuilder, service_fn};
//! use tower_health::{Access, Health, HealthLayer, Outcome, PeerAddr};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn Error>> {
//!     let health = Health::builder().check("database", async || Ok(Outcome::up())).build();
//!     let layer = HealthLayer::new(health).details(Access::loopback());
//!     let listener = TcpListener::bind("0.0.0.0:3000").await?;
//!     loop {
//!         let (stream, peer) = listener.accept().await?;
//!         let app = ServiceBuilder::new()
//!             .map_request(move |mut request: Request<Incoming>| {
//!                 request.extensions_mut().insert(PeerAddr(peer));
//!                 request
//!             })
//!             .layer(layer.clone())
//!             .service(service_fn(async |_| Ok::<_, Infallible>(Response::new("hello".to_owned()))));
//!         tokio::spawn(async move {
//!             let service = TowerToHyperService::new(app);
//!             let _ = auto::Builder::new(TokioExecutor::new())
//!                 .serve_connection(TokioIo::new(stream), service)
//!                 .await;
//!         });
//!     }
//! }
//! ```
//!
//! # Compile errors
//!
//! | error | remedy |
//! |---|---|
//! | no method `drain_on_shutdown_signal`, `grpc`, `page` | turn on the feature `signal`, `grpc`, `html` |
//! | no method `layer` for `HealthLayer` | `use tower::Layer` |
//! | `axum::serve` rejects `layer.layer(router)` | [`keep_body_type`](HealthLayer::keep_body_type), then `axum::ServiceExt::<Request>::into_make_service_with_connect_info` |
//! | a body does not satisfy `From<Bytes>`, or `HealthService<_, KeepBody>` is not a `Service` | leave `keep_body_type` out, or map the inner body to `Bytes` |
//! | `Clone` is not satisfied at [`BusyService`](service::BusyService) | make the inner service `Clone`, for example with `tower::buffer` |
//! | a check "captures state" or "only implements `FnOnce`" | `move \|\| { let pool = pool.clone(); async move { .. } }` |
//! | `?` cannot convert `Box<dyn Error>` or `anyhow::Error` to [`Failure`] | `map_err(\|error\| Failure::new(Reason::Failed).caused_by(error))` |
//! | `InProcessCheck` is not implemented | liveness takes no check behind a network: use [`check`](HealthBuilder::check) |
//! | expected `Access`, found `Result` | `networks` and `trusted_proxies` validate their arguments: add `?` |
//!
//! # Guide
//!
//! | how do I ... | page |
//! |---|---|
//! | write a check, probe a worker | [`guide::custom_checks`] |
//! | gate the start, drain, enter maintenance | [`guide::lifecycle`] |
//! | serve several gRPC services, serve behind a proxy, use TLS | [`guide::serving`] |
//! | check sqlx, deadpool, diesel-async or another pool | [`guide::pools`] |
//! | export metrics, alert, log | [`guide::monitoring`] |
//! | test my wiring | [`guide::testing`] |
//! | place the layer | [`guide::placement`] |
//! | choose what to check, and the numbers | [`guide::policy`] |
//! | select a format | [`guide::formats`] |
//! | understand a code or a reason, configure a prober | [`guide::operators`] |
//!
//! [`checks`] has the rules of the pool checks.
//!
//! # Security
//!
//! By default every caller gets the status, and no caller gets details. [`HealthLayer::details`] allows them, and
//! [`HealthLayer::allow`] restricts the probes. A response contains a [`Reason`], never the text of an error.
//!
//! # Features (Rust 1.88 or later)
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `postgres`, `redis` | `checks::postgres`, `checks::redis` | yes |
//! | `pool` | `checks::pool`, for other bb8 pools | with either |
//! | `axum`, `tonic` | the peer address from `ConnectInfo`, `TcpConnectInfo` | no |
//! | `hyper` | [`HealthService`](service::HealthService) is also a `hyper::service::Service` | no |
//! | `grpc` | `grpc.health.v1`: `Check`, `Watch`, `List` | no |
//! | `html` | the status page | no |
//! | `signal` | `Health::drain_on_shutdown_signal` | no |
//! | `tracing` | one log event per transition, one span per run at level DEBUG | no |
//! | `metrics` | metrics of runs and probes through the `metrics` facade | no |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
mod bounds;
mod check;
pub mod checks;
mod dependency;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod guide;
pub mod health;
mod http;
#[cfg(feature = "metrics")]
pub mod metrics;
mod monitor;
mod probe;
pub mod render;
pub mod report;

/// What [`HealthLayer`] is made of: services, their futures and bodies, and the layers for the inner service.
pub mod service {
    pub use crate::http::{
        AnnounceDrainLayer, AnnounceDrainService, BusyService, HealthService, ProbeMark,
        ResponseBody, ResponseFuture, mode,
    };
}

#[doc(inline)]
pub use self::{
    access::{Access, PeerAddr},
    check::{Check, CheckResult, InProcessCheck, Outcome},
    dependency::{Dependency, InvalidDependencyName},
    health::{Health, HealthBuilder},
    http::HealthLayer,
    probe::Probe,
    render::Format,
    report::{Failure, Reason, Status},
};

/// The examples of the README, compiled.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "grpc",
    feature = "postgres",
    feature = "signal"
))]
#[doc = include_str!("../README.md")]
mod readme {}
