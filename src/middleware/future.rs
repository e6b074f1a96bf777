use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use super::ResponseBody;

/// A probe that waits for a run.
pub(super) type Waiting = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;

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
    }
}

enum Probe {
    Answer(Option<Response<Bytes>>),
    Waiting(Waiting),
}

impl Probe {
    // Out of the way of the requests that pass through.
    #[cold]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<Bytes>> {
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

    pub(super) fn answer(response: Response<Bytes>) -> Self {
        Self {
            kind: Kind::Probe {
                probe: Probe::Answer(Some(response)),
            },
        }
    }

    pub(super) fn waiting(answer: Waiting) -> Self {
        Self {
            kind: Kind::Probe {
                probe: Probe::Waiting(answer),
            },
        }
    }
}

/// Where a response comes from.
pub(super) enum Progress<T> {
    Inner(T),
    Answer(Response<Bytes>),
}

impl<F: Future> ResponseFuture<F> {
    #[inline]
    pub(super) fn progress(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Progress<F::Output>> {
        match self.project().kind.project() {
            KindProjection::Inner { future } => future.poll(cx).map(Progress::Inner),
            KindProjection::Probe { probe } => probe.poll(cx).map(Progress::Answer),
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
        Poll::Ready(match ready!(self.progress(cx)) {
            Progress::Inner(result) => result.map(|response| response.map(ResponseBody::inner)),
            Progress::Answer(response) => Ok(response.map(ResponseBody::answer)),
        })
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
