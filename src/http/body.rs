//! The body of a response, in each mode of a layer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the inner service's, forwarded unchanged, or the answer to a probe.
    ///
    /// Data and error are those of the inner body: an answer is converted into its data and cannot fail.
    #[derive(Debug)]
    pub struct ResponseBody<B, M: Mode = Plain> {
        #[pin]
        body: BodyKind<B, M::AnswerBody>,
    }
}

// Not `http_body_util::Either`: its error is a box, and the error of the inner body must stay.
pin_project! {
    #[derive(Debug)]
    #[project = BodyProjection]
    enum BodyKind<B, A> {
        Inner { #[pin] body: B },
        Answer { #[pin] body: A },
    }
}

impl<B, M: Mode> ResponseBody<B, M> {
    pub(super) fn inner(body: B) -> Self {
        Self {
            body: BodyKind::Inner { body },
        }
    }

    pub(super) fn answer(body: M::AnswerBody) -> Self {
        Self {
            body: BodyKind::Answer { body },
        }
    }
}

impl<B, M> Body for ResponseBody<B, M>
where
    B: Body,
    B::Data: From<Bytes>,
    M: Mode,
    M::AnswerBody: Body<Data = Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().body.project() {
            BodyProjection::Inner { body } => body.poll_frame(cx),
            // An error could only be tonic's, of a type that the inner body does not have.
            BodyProjection::Answer { body } => body.poll_frame(cx).map(|frame| {
                let frame = frame.and_then(Result::ok)?;
                Some(Ok(frame.map_data(Into::into)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            BodyKind::Inner { body } => body.is_end_stream(),
            BodyKind::Answer { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            BodyKind::Inner { body } => body.size_hint(),
            BodyKind::Answer { body } => body.size_hint(),
        }
    }
}

impl<B: Default, M: Mode> Default for ResponseBody<B, M> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

/// A mode of [`HealthLayer`](crate::HealthLayer): `Plain`, `KeepBody` or `Grpc`.
pub trait Mode: sealed::Sealed {}

impl<M: sealed::Sealed> Mode for M {}

/// The default: HTTP probes are answered, in a [`ResponseBody`](crate::service::ResponseBody).
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

    #[allow(unnameable_types)] // A trait that seals another has no public path.
    pub trait Sealed: Copy + Debug + Send + Sync + 'static {
        /// The body of an answer that is not from the inner service.
        type AnswerBody: Debug + Send + Unpin + 'static;

        /// Whether gRPC health calls are answered.
        const ANSWERS_GRPC: bool = false;

        fn answer_body(bytes: Bytes) -> Self::AnswerBody;
    }
}

impl sealed::Sealed for Plain {
    type AnswerBody = Full<Bytes>;

    fn answer_body(bytes: Bytes) -> Full<Bytes> {
        Full::new(bytes)
    }
}

impl sealed::Sealed for KeepBody {
    type AnswerBody = Bytes;

    fn answer_body(bytes: Bytes) -> Bytes {
        bytes
    }
}

/// The body of the answer to a probe or a gRPC call.
#[cfg(feature = "grpc")]
pub(super) type GrpcAnswerBody = http_body_util::Either<Full<Bytes>, tonic::body::Body>;

#[cfg(feature = "grpc")]
impl sealed::Sealed for Grpc {
    type AnswerBody = GrpcAnswerBody;

    const ANSWERS_GRPC: bool = true;

    fn answer_body(bytes: Bytes) -> Self::AnswerBody {
        GrpcAnswerBody::Left(Full::new(bytes))
    }
}
