//! What the layer costs in memory, counted by an allocator of this binary.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

mod counting;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "metrics")]
mod metrics;
mod pass_through;
mod waiters;
