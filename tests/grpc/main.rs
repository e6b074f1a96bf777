//! `grpc.health.v1` on real connections.
#![cfg(feature = "grpc")]
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod calls;
#[cfg(feature = "axum")]
mod servers;
mod watchers;
