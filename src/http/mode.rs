//! The modes of a layer: which body its responses have, and whether gRPC calls are answered.

use bytes::Bytes;
use http_body_util::Full;

/// A mode of [`HealthLayer`](crate::HealthLayer): one of the types in this module.
pub trait Mode: sealed::Mode {}

impl<M: sealed::Mode> Mode for M {}

/// The default: HTTP probes are answered, in a [`ResponseBody`](crate::ResponseBody).
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// HTTP probes are answered in the body type of the inner service.
#[derive(Clone, Copy, Debug)]
pub struct KeepBody;

/// HTTP probes and calls of `grpc.health.v1.Health` are answered.
#[cfg(feature = "grpc")]
#[derive(Clone, Copy, Debug)]
pub struct Grpc;

pub(super) mod sealed {
    use std::fmt::Debug;

    use bytes::Bytes;

    #[allow(unnameable_types)] // What seals a trait has no path.
    pub trait Mode: Copy + Debug + Send + Sync + 'static {
        /// The body of an answer that is not the inner service's.
        type Answer: Debug + Send + Unpin + 'static;

        /// Whether health calls over gRPC are answered.
        const ANSWERS_GRPC: bool = false;

        fn answer(bytes: Bytes) -> Self::Answer;
    }
}

impl sealed::Mode for Plain {
    type Answer = Full<Bytes>;

    fn answer(bytes: Bytes) -> Full<Bytes> {
        Full::new(bytes)
    }
}

impl sealed::Mode for KeepBody {
    type Answer = Bytes;

    fn answer(bytes: Bytes) -> Bytes {
        bytes
    }
}

/// The body of the answer to a probe, or to a call.
#[cfg(feature = "grpc")]
pub(super) type GrpcAnswer = http_body_util::Either<Full<Bytes>, tonic::body::Body>;

#[cfg(feature = "grpc")]
impl sealed::Mode for Grpc {
    type Answer = GrpcAnswer;

    const ANSWERS_GRPC: bool = true;

    fn answer(bytes: Bytes) -> Self::Answer {
        GrpcAnswer::Left(Full::new(bytes))
    }
}
