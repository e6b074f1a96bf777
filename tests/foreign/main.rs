//! Programs of others: balancers, scrapers, browsers, clients and validators of deployment files.
#![cfg(all(
    feature = "axum",
    feature = "grpc",
    feature = "html",
    feature = "metrics",
    feature = "postgres",
    feature = "redis",
    feature = "tracing"
))]
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod envoy;
mod grpc_clients;
mod haproxy;
mod page;
mod prometheus;
mod validators;
