use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use super::ResponseBody;
use crate::grpc::Answering;

pin_project! {
    /// The future of a [`HealthService`](super::HealthService).
    ///
    /// Dropping it drops the inner service's future, or gives up the probe's place in
    /// the queue; no run is cancelled.
    pub struct ResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Probe { probe: Probe },
        Grpc { answer: Answering },
    }
}

/// A probe's part of the future.
pub(super) enum Probe {
    /// `None` once it was taken.
    Answer(Option<Response<Bytes>>),
    Waiting(Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>),
}

impl Probe {
    // Always: a response that comes out of a function of its own is copied once more, the
    // inner service's with it.
    #[inline(always)]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<Bytes>> {
        match self {
            // Polled again after it was ready: the contract of futures is broken already.
            Self::Answer(response) => Poll::Ready(response.take().expect("polled after ready")),
            Self::Waiting(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn inner(future: F) -> Self {
        Self {
            kind: Kind::Inner { future },
        }
    }

    pub(super) fn probe(probe: Probe) -> Self {
        Self {
            kind: Kind::Probe { probe },
        }
    }

    #[cfg(feature = "grpc")]
    pub(super) fn grpc(answer: Answering) -> Self {
        Self {
            kind: Kind::Grpc { answer },
        }
    }
}

/// Whom a future asks for its response.
pub(super) enum Source<'a, F> {
    Inner(Pin<&'a mut F>),
    Probe(&'a mut Probe),
    Grpc(&'a mut Answering),
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn source(self: Pin<&mut Self>) -> Source<'_, F> {
        match self.project().kind.project() {
            KindProjection::Inner { future } => Source::Inner(future),
            KindProjection::Probe { probe } => Source::Probe(probe),
            KindProjection::Grpc { answer } => Source::Grpc(answer),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.source() {
            Source::Inner(future) => future
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::inner)),
            Source::Probe(probe) => probe
                .poll(cx)
                .map(|response| Ok(response.map(ResponseBody::answer))),
            Source::Grpc(answer) => answer
                .poll(cx)
                .map(|response| Ok(response.map(ResponseBody::grpc))),
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
