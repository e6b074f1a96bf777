//! The examples, started as processes.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

#[cfg(all(
    feature = "axum",
    feature = "postgres",
    feature = "redis",
    feature = "signal",
    feature = "tracing"
))]
mod all_backends;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod checks;
#[cfg(feature = "axum")]
mod healthcheck;
#[cfg(all(
    feature = "axum",
    feature = "postgres",
    feature = "signal",
    feature = "tracing"
))]
mod postgres_liveness;
#[cfg(all(feature = "axum", feature = "grpc"))]
mod programs;
#[cfg(all(
    feature = "axum",
    feature = "postgres",
    feature = "redis",
    feature = "signal",
    feature = "tracing"
))]
mod quickstart;
#[cfg(all(
    feature = "axum",
    feature = "postgres",
    feature = "signal",
    feature = "tracing"
))]
mod readme;
#[cfg(all(
    feature = "axum",
    feature = "redis",
    feature = "signal",
    feature = "tracing"
))]
mod redis_required;
mod systemd;
mod systemd_manager;
#[cfg(all(
    feature = "grpc",
    feature = "postgres",
    feature = "redis",
    feature = "signal",
    feature = "tracing"
))]
mod tonic_server;
#[cfg(all(feature = "axum", feature = "signal", feature = "tracing"))]
mod webhook;
