#[cfg(feature = "grpc")]
use std::ops::ControlFlow;
use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, request::Parts, uri::PathAndQuery};
use http_body::Body;
use tower_service::Service;

use super::{
    MaybeStatic, ResponseBody, ResponseFuture,
    face::{Face, Stay, Turn},
    future::Probe,
    paths::{Filter, Match},
    shard::Sharded,
};

/// The service that a [`HealthLayer`](super::HealthLayer) makes.
///
/// With the feature `hyper` also a `hyper::service::Service` around one of those.
#[derive(Clone, Debug)]
pub struct HealthService<S> {
    inner: S,
    front: Front,
}

/// What stands before the inner service, apart from it: a call needs that one mutable, or not.
#[derive(Clone, Debug)]
pub(super) struct Front {
    // Here and not behind the pointer: a request that passes through reads nothing else.
    filter: Filter,
    face: Sharded<Face>,
}

impl<S> HealthService<S> {
    pub(super) fn new(inner: S, face: Sharded<Face>) -> Self {
        Self {
            inner,
            front: Front {
                filter: face.paths.filter(),
                face,
            },
        }
    }

    #[inline]
    pub(super) fn parts_mut(&mut self) -> (&Front, &mut S) {
        (&self.front, &mut self.inner)
    }

    /// Answers `request`, or passes it to the inner service.
    // Always: returned by a function of its own, the inner future would be copied once more.
    #[inline(always)]
    pub(super) fn start<A>(
        &mut self,
        request: Request<A>,
        answers_grpc: bool,
    ) -> ResponseFuture<S::Future>
    where
        S: Service<Request<A>>,
        A: MaybeStatic,
    {
        match self.find(request.uri()) {
            None => ResponseFuture::inner(self.inner.call(request)),
            Some(found) => self.answer(request, found, answers_grpc),
        }
    }

    #[inline(always)]
    pub(super) fn find(&self, uri: &Uri) -> Option<Match> {
        self.front.find(uri)
    }

    // The one closure for all who call: with two, everything below them is there twice, and less
    // of it inlined.
    #[inline(always)]
    pub(super) fn answer<A>(
        &mut self,
        request: Request<A>,
        found: Match,
        answers_grpc: bool,
    ) -> ResponseFuture<S::Future>
    where
        S: Service<Request<A>>,
        A: MaybeStatic,
    {
        self.front.answer(request, found, answers_grpc, |request| {
            self.inner.call(request)
        })
    }
}

impl Front {
    /// The probe's part of the future, if `request` is one whose sender may know that.
    pub(super) fn probe<A>(&self, request: &mut Request<A>) -> Option<Probe> {
        let found = self.find(request.uri())?;
        #[cfg(feature = "grpc")]
        if self.face.is_grpc(found) {
            return None;
        }
        match self.face.value().turn(request, found) {
            Turn::Pass => None,
            Turn::Stay(stay) => {
                let mut probe = stay.into_probe(&self.face, mem::take(request.headers_mut()));
                if self.face.marks {
                    probe.mark();
                }
                Some(probe)
            }
        }
    }

    /// Starts to answer a gRPC call, or gives back what is none or is to pass.
    #[cfg(feature = "grpc")]
    pub(super) fn grpc<A: 'static>(
        &self,
        request: Request<A>,
    ) -> ControlFlow<crate::grpc::Answering, Request<A>> {
        match self.find(request.uri()) {
            Some(found) if self.face.is_grpc(found) => self.face.call(found, request),
            _ => ControlFlow::Continue(request),
        }
    }

    #[inline]
    fn find(&self, uri: &Uri) -> Option<Match> {
        // With its query: to find where that starts costs more than the filter itself.
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
        if self.filter.passes(target) {
            self.face.paths.find(target)
        } else {
            None
        }
    }

    // Out of the way of the requests that pass through.
    #[cold]
    fn answer<A: MaybeStatic, F>(
        &self,
        mut request: Request<A>,
        found: Match,
        #[cfg_attr(not(feature = "grpc"), allow(unused_variables))] answers_grpc: bool,
        inner: impl FnOnce(Request<A>) -> F,
    ) -> ResponseFuture<F> {
        #[cfg(feature = "grpc")]
        if self.face.is_grpc(found) {
            let answer = if answers_grpc {
                self.face.call(found, request)
            } else {
                ControlFlow::Continue(request)
            };
            return match answer {
                ControlFlow::Break(answer) => ResponseFuture::grpc(answer),
                ControlFlow::Continue(request) => ResponseFuture::inner(inner(request)),
            };
        }
        match self.face.value().turn(&mut request, found) {
            Turn::Pass => ResponseFuture::inner(inner(request)),
            // The request is dropped here, before anything is awaited: hyper reuses its
            // buffer once nothing of the request refers to it.
            Turn::Stay(stay) => {
                let Parts { headers, .. } = request.into_parts().0;
                // Apart, and each in its place: an answer that is named before it is returned is copied.
                if self.face.marks {
                    return ResponseFuture::probe(marked(stay, &self.face, headers));
                }
                ResponseFuture::probe(stay.into_probe(&self.face, headers))
            }
        }
    }
}

#[cold]
#[inline(never)]
fn marked(stay: Stay, face: &Face, headers: HeaderMap) -> Probe {
    let mut probe = stay.into_probe(face, headers);
    probe.mark();
    probe
}

impl<S, A, B> Service<Request<A>> for HealthService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    A: MaybeStatic,
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
        self.start(request, true)
    }
}

/// Hyper calls such a service where it stands, and clones nothing: a whole request that is a cached probe
/// costs 7 % less than through `TowerToHyperService` around this one.
#[cfg(feature = "hyper")]
impl<S, A, B> hyper::service::Service<Request<A>> for HealthService<S>
where
    S: hyper::service::Service<Request<A>, Response = Response<B>>,
    A: MaybeStatic,
    B: Body,
    B::Data: From<Bytes>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn call(&self, request: Request<A>) -> Self::Future {
        match self.front.find(request.uri()) {
            None => ResponseFuture::inner(self.inner.call(request)),
            Some(found) => self
                .front
                .answer(request, found, true, |request| self.inner.call(request)),
        }
    }
}
