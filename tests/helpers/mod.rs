//! What the tests share besides the servers of `support`: apps, clients, and checks that a test steers.
#![allow(dead_code, unreachable_pub, unused_imports)] // Each test binary uses a part of it.

#[cfg(all(feature = "postgres", feature = "redis"))]
pub mod balanced;
#[cfg(feature = "html")]
pub mod browser;
pub mod dashboard;
pub mod gate;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod layer_client;
pub mod peers;
pub mod server;
pub mod switch;
pub mod wire;
