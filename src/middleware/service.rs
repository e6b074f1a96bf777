use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture,
    face::Face,
    future::Probe,
    paths::{Filter, Match},
    shard::Sharded,
};

/// The service that a [`HealthLayer`](super::HealthLayer) makes.
#[derive(Clone, Debug)]
pub struct HealthService<S> {
    inner: S,
    // Here and not behind the pointer: a request that passes through reads nothing else.
    filter: Filter,
    face: Sharded<Face>,
}

impl<S> HealthService<S> {
    pub(super) fn new(inner: S, face: Sharded<Face>) -> Self {
        Self {
            inner,
            filter: face.paths.filter(),
            face,
        }
    }

    pub(super) fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Answers `request`, or passes it to the inner service.
    #[inline]
    pub(super) fn start<A>(&mut self, request: Request<A>) -> ResponseFuture<S::Future>
    where
        S: Service<Request<A>>,
    {
        match self.find(request.uri().path()) {
            None => ResponseFuture::inner(self.inner.call(request)),
            Some(found) => self.answer(request, found),
        }
    }

    /// The probe's part of the future, if `request` is one whose sender may know that.
    pub(super) fn probe<A>(&self, request: &mut Request<A>) -> Option<Probe> {
        let found = self.find(request.uri().path())?;
        self.face.value().turn(request, found)
    }

    #[inline]
    fn find(&self, path: &str) -> Option<Match> {
        if self.filter.passes(path) {
            self.face.paths.find(path)
        } else {
            None
        }
    }

    // Out of the way of the requests that pass through.
    #[cold]
    fn answer<A>(&mut self, mut request: Request<A>, found: Match) -> ResponseFuture<S::Future>
    where
        S: Service<Request<A>>,
    {
        match self.face.value().turn(&mut request, found) {
            // The request is dropped here, before anything is awaited: hyper reuses its
            // buffer once nothing of the request refers to it.
            Some(probe) => ResponseFuture::probe(probe),
            None => ResponseFuture::inner(self.inner.call(request)),
        }
    }
}

impl<S, A, B> Service<Request<A>> for HealthService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
    B::Data: From<Bytes>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        self.start(request)
    }
}
