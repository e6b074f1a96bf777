//! The memory of the layer and of the gRPC service, counted by the allocator of this binary.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

mod counting;
#[cfg(feature = "grpc")]
mod grpc;
mod layer;
mod waiters;
