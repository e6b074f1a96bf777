//! `grpc.health.v1` on real connections.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "grpc")]
mod calls;
#[cfg(feature = "grpc")]
mod gone;
#[cfg(all(feature = "grpc", feature = "axum", feature = "hyper"))]
mod layered;
#[cfg(feature = "grpc")]
mod raw_frames;
#[cfg(all(feature = "grpc", feature = "axum", feature = "hyper"))]
mod servers;
#[cfg(feature = "grpc")]
mod unauthorized;
#[cfg(feature = "grpc")]
mod watchers;
