//! Programs of others: balancers, scrapers, browsers, clients and validators of deployment files.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "axum")]
mod access;
mod deploy_files;
#[cfg(all(feature = "axum", feature = "postgres", feature = "redis"))]
mod envoy;
#[cfg(all(feature = "grpc", feature = "axum"))]
mod envoy_grpc;
#[cfg(feature = "axum")]
mod envoy_localities;
#[cfg(feature = "grpc")]
mod grpc_python;
#[cfg(all(feature = "axum", feature = "postgres", feature = "redis"))]
mod haproxy;
#[cfg(all(
    feature = "axum",
    feature = "metrics",
    feature = "postgres",
    feature = "redis",
    feature = "tracing"
))]
mod metrics_prometheus;
mod metrics_rules;
#[cfg(all(feature = "html", feature = "postgres", feature = "redis"))]
mod page;
#[cfg(feature = "html")]
mod page_accessibility;
#[cfg(all(feature = "html", feature = "postgres", feature = "redis"))]
mod page_picture;
