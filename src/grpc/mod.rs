//! `grpc.health.v1`.

mod asked;
mod body;
mod call;
mod feed;
mod head;
mod intercept;
mod memo;
mod message;
mod names;
mod read;
mod service;
mod status;
mod watchers;
mod watching;

pub use self::{
    body::GrpcBody,
    service::{GrpcFuture, GrpcService},
};
pub(crate) use self::{
    call::{Answering, Rules},
    intercept::{Interception, body_as, holds_trailers},
    memo::Memo,
    names::Services,
    watchers::Watchers,
};

const SERVICE: &str = "grpc.health.v1.Health";

/// Below it are the methods.
pub(crate) const PATH: &str = "/grpc.health.v1.Health";

/// `grpc/health/v1/health.proto`, encoded as a `FileDescriptorSet`: what reflection serves.
///
/// That of tonic-health ends before `List`.
///
/// ```
/// let reflection = tonic_reflection::server::Builder::configure()
///     .register_encoded_file_descriptor_set(tower_health::grpc::FILE_DESCRIPTOR_SET)
///     .build_v1()
///     .expect("well-formed");
/// # drop(reflection);
/// ```
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("proto/health.bin");
