//! The layer that answers probes while the inner service is not ready.
//!
//! A full concurrency limit says nothing about health, but with plain back-pressure
//! a probe queues behind it. Here the service is always ready: a probe is answered at
//! once, and a request that passes through waits for readiness inside its own
//! future, on a clone of the inner service.

#[cfg(feature = "grpc")]
use std::ops::ControlFlow;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_layer::Layer;
use tower_service::Service;

use super::{HealthLayer, HealthService, MaybeStatic, ResponseBody, future::Probe};
use crate::grpc::Answering;

/// A [`HealthLayer`] that answers while the inner service is busy. Made by [`HealthLayer::answer_when_busy`].
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct BusyLayer {
    layer: HealthLayer,
}

impl BusyLayer {
    pub(super) fn new(layer: HealthLayer) -> Self {
        Self { layer }
    }
}

impl<S> Layer<S> for BusyLayer {
    type Service = BusyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BusyService {
            service: self.layer.layer(inner),
        }
    }
}

/// The service that a [`BusyLayer`] makes. Always ready.
#[derive(Clone, Debug)]
pub struct BusyService<S> {
    service: HealthService<S>,
}

impl<S, A, B> Service<Request<A>> for BusyService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    A: MaybeStatic,
    B: Body,
    B::Data: From<Bytes>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = BusyFuture<S, Request<A>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let (front, inner) = self.service.parts_mut();
        #[cfg(feature = "grpc")]
        match front.grpc(request) {
            ControlFlow::Break(answer) => {
                return BusyFuture {
                    kind: Kind::Grpc { answer },
                };
            }
            ControlFlow::Continue(other) => request = other,
        }
        let kind = match front.probe(&mut request) {
            Some(probe) => Kind::Probe { probe },
            None => Kind::Inner {
                future: Oneshot::new(inner.clone(), request),
            },
        };
        BusyFuture { kind }
    }
}

pin_project! {
    /// The future of a [`BusyService`]: a probe's answer, or the inner service's readiness and response.
    pub struct BusyFuture<S: Service<R>, R> {
        #[pin]
        kind: Kind<S, R>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S: Service<R>, R> {
        Inner { #[pin] future: Oneshot<S, R> },
        Probe { probe: Probe },
        Grpc { answer: Answering },
    }
}

impl<S, R, B> Future for BusyFuture<S, R>
where
    S: Service<R, Response = Response<B>>,
{
    type Output = Result<Response<ResponseBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjection::Inner { future } => future
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::inner)),
            KindProjection::Probe { probe } => probe
                .poll(cx)
                .map(|response| Ok(response.map(ResponseBody::answer))),
            KindProjection::Grpc { answer } => answer
                .poll(cx)
                .map(|response| Ok(response.map(ResponseBody::grpc))),
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for BusyFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusyFuture").finish_non_exhaustive()
    }
}
