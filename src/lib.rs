//! Tower middleware that answers health probes from the app's own pools.
//!
//! [`HealthLayer`] intercepts a few paths in front of any HTTP service and passes
//! every other request through untouched. What it answers comes from a [`Health`]:
//! a handle that checks the app's dependencies, each in one detached run at a
//! time, and keeps the verdicts for a moment.
//!
//! ```
//! use tower_health::{Access, Dependency, Health, HealthLayer, Outcome};
//! use tower_layer::Layer;
//!
//! # fn wrap<S>(service: S) -> impl Sized {
//! let health = Health::builder()
//!     // `checks::postgres(pool.clone())` for a pool of the app's.
//!     .check("database", async || Ok(Outcome::up()))
//!     .add(Dependency::new("search", async || Ok(Outcome::up())).optional())
//!     .info("version", env!("CARGO_PKG_VERSION"))
//!     .build();
//! HealthLayer::new(health).details(Access::loopback()).layer(service)
//! # }
//! ```
//!
//! # Probes
//!
//! | path | question | 503 when |
//! |---|---|---|
//! | `/livez` | should it be restarted? | a check inside the process is down |
//! | `/readyz` | should it get traffic? | starting, draining, or a required dependency is down or unknown |
//! | `/startupz` | has it ever been ready? | not yet |
//! | `/health` | how is everything? | a required dependency is down or unknown |
//!
//! Below each path `/{name}` answers for one dependency that the probe looks at, for
//! those allowed details.
//!
//! # Placement
//!
//! Outermost, so that nothing slows or refuses a probe. With axum wrap the whole
//! `Router` (`layer.layer(router)`): `Router::layer` boxes the wrapped service again for
//! every request. A nested router sees its paths without their prefix, and its
//! layers see no request that matches none of its routes: wrap the outermost one.
//! A fallback set after `Router::layer` is outside it and takes the probes away: set
//! it before, or wrap the router from outside. The whole table stands in [`guide::placement`].
//!
//! # Manuals
//!
//! [`guide::policy`] says what belongs into which probe, in numbers; [`guide::formats`] shows every form of an
//! answer; [`guide::operators`] is for whoever is on call, and for wiring probers and balancers.
//!
//! # Security defaults
//!
//! Everybody learns the status, nobody the details; [`HealthLayer::details`] opens
//! them and [`HealthLayer::allow`] closes the probes themselves. Error text never
//! reaches a response: a [`Reason`] does.
//!
//! # Features
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `postgres` | `checks::postgres` | yes |
//! | `redis` | `checks::redis` | yes |
//! | `pool` | `checks::pool`, for any bb8 pool | with either |
//! | `axum` | the peer's address from `ConnectInfo` | no |
//! | `tonic` | the peer's address from `TcpConnectInfo` | no |
//! | `hyper` | the service is one of hyper's own, too | no |
//! | `grpc` | `grpc.health.v1`: `Check`, `Watch`, `List` | no |
//! | `html` | the page for people | no |
//! | `tracing` | one log event per transition | no |
//! | `metrics` | numbers of runs and probes through the `metrics` facade | no |
//!
//! Minimum supported Rust version: 1.88.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod bounds;
mod check;
pub mod checks;
mod dependency;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod guide;
mod health;
mod http;
#[cfg(feature = "metrics")]
pub mod metrics;
mod monitor;
mod probe;
mod render;
mod report;

pub use self::{
    access::{Access, Detail, InvalidNetwork, PeerAddr, RequestHead},
    check::{Check, CheckResult, InProcessCheck, Outcome},
    dependency::{Dependency, InvalidDependencyName},
    health::{
        AddError, AddErrorKind, ConfigWarning, ConfigWarningKind, Health, HealthBuilder, NotReady,
        Transition, Transitions,
    },
    http::{
        AnnounceDrainLayer, AnnounceDrainService, BusyService, HealthLayer, HealthService,
        ProbeMark, ResponseBody, ResponseFuture, mode,
    },
    probe::Probe,
    render::{Format, Render, View},
    report::{CheckRun, Failure, ObservedValue, PoolStats, Reason, Report, ReportEntry, Status},
};

/// The README's examples, compiled.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "grpc",
    feature = "postgres",
    feature = "redis",
    feature = "signal"
))]
#[doc = include_str!("../README.md")]
mod readme {}
