//! The layer for inner services whose own body can hold an answer, such as axum's.
//!
//! The response type stays the inner service's: `axum::serve` takes the wrapped
//! router, and no second body type is boxed on the way.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    HealthLayer, HealthService, MaybeStatic,
    future::{ResponseFuture, Source},
};
use crate::grpc;

/// A [`HealthLayer`] that keeps the inner service's response body. Made by [`HealthLayer::keep_body_type`].
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct KeepBodyLayer {
    layer: HealthLayer,
}

impl KeepBodyLayer {
    pub(super) fn new(layer: HealthLayer) -> Self {
        Self { layer }
    }
}

impl<S> Layer<S> for KeepBodyLayer {
    type Service = KeepBodyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KeepBodyService {
            service: self.layer.layer(inner),
        }
    }
}

/// The service that a [`KeepBodyLayer`] makes.
#[derive(Clone, Debug)]
pub struct KeepBodyService<S> {
    service: HealthService<S>,
}

impl<S, A, B> Service<Request<A>> for KeepBodyService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    A: MaybeStatic,
    B: From<Bytes> + MaybeStatic,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = KeepBodyFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.parts_mut().1.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let service = &mut self.service;
        // Written out, as `HealthService::start`: what that returns would be copied into this future.
        match service.find(request.uri()) {
            None => KeepBodyFuture {
                future: ResponseFuture::inner(service.parts_mut().1.call(request)),
            },
            Some(found) => KeepBodyFuture {
                future: service.answer(request, found, grpc::holds_trailers::<B>()),
            },
        }
    }
}

pin_project! {
    /// The future of a [`KeepBodyService`]; cancellation as for [`ResponseFuture`].
    pub struct KeepBodyFuture<F> {
        #[pin]
        future: ResponseFuture<F>,
    }
}

impl<F, B, E> Future for KeepBodyFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<Bytes> + MaybeStatic,
{
    type Output = Result<Response<B>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().future.source() {
            Source::Inner(future) => future.poll(cx),
            Source::Probe(probe) => probe.poll(cx).map(|response| Ok(response.map(B::from))),
            Source::Grpc(answer) => answer
                .poll(cx)
                .map(|response| Ok(response.map(grpc::body_as))),
        }
    }
}

impl<F> fmt::Debug for KeepBodyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepBodyFuture").finish_non_exhaustive()
    }
}
