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
    feature = "tracing"
))]
mod all_backends;
#[cfg(feature = "axum")]
mod healthcheck;
#[cfg(all(feature = "axum", feature = "postgres", feature = "tracing"))]
mod postgres_liveness;
#[cfg(all(feature = "axum", feature = "postgres", feature = "redis"))]
mod quickstart;
#[cfg(all(feature = "axum", feature = "redis", feature = "tracing"))]
mod redis_required;
#[cfg(all(feature = "grpc", feature = "postgres", feature = "redis"))]
mod tonic_server;
#[cfg(feature = "axum")]
mod webhook;
