//! The examples, started as processes.
#![cfg(all(
    feature = "axum",
    feature = "grpc",
    feature = "postgres",
    feature = "redis",
    feature = "signal",
    feature = "tracing"
))]
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../faults/answer.rs"]
mod answer;
#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod app;

mod all_backends;
mod checks;
mod healthcheck;
mod postgres_liveness;
mod quickstart;
mod readme;
mod redis_required;
mod systemd;
mod tonic_server;
mod webhook;
