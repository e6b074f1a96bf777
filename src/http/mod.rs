//! The layer: probes are answered here, and every other request passes through.
//!
//! Rules, in evaluation order:
//!
//! 1. `endpoints`: a request whose path is not a probe path, or one segment below it, passes through.
//! 2. Below a probe path only `GET` and `HEAD` of a known dependency are answered, and only to a caller who may
//!    probe and see details. Everything else there passes through.
//! 3. A caller who may not probe (`allow`) gets 403, or with `forward_denied` the request passes through.
//! 4. A method other than `GET` and `HEAD` gets 405.
//! 5. The format is that of the path, or the one that `accept` names, or that of the layer.
//! 6. `query`: `verbose` and `exclude` count for callers with details. Such a body is rendered per request.
//! 7. `respond`: the body rendered last for this format and detail, while its results are valid. Otherwise
//!    the checks that are due run, and the request waits for them.
//!
//! The mode says which body the response has and whether gRPC calls are answered. `inner_layers` has layers that
//! wrap the inner service.

// A file imports those above it only.
mod body;
mod query;
mod rendered_answer;

mod endpoints;
mod inner_layers;
mod respond;
mod service;

mod layer;

/// The modes of a [`HealthLayer`]: which body its responses have, and whether gRPC calls are answered.
pub mod mode {
    #[cfg(feature = "grpc")]
    pub use super::body::Grpc;
    pub use super::body::{KeepBody, Mode, Plain};
}

pub use self::{
    body::ResponseBody,
    inner_layers::{AnnounceDrainLayer, AnnounceDrainService, BusyService},
    layer::HealthLayer,
    respond::ProbeMark,
    service::{HealthService, ResponseFuture},
};
