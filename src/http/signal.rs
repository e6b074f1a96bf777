//! The layer that says on ordinary responses that the app drains, so that proxies move on without
//! another probe.
//!
//! It wraps the inner service and not the health service: whoever does not ask for it pays nothing.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION,
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{BusyLayer, HealthLayer, KeepBodyLayer, shard::Sharded};
use crate::health::Health;

/// At this Envoy takes the host out of its cluster at once.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// A layer that signals draining, besides what `L` does. Made by [`HealthLayer::announce_draining`].
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct AnnounceDrainLayer<L> {
    layer: L,
    health: Sharded<Health>,
}

impl<L> AnnounceDrainLayer<L> {
    pub(super) fn new(layer: L, health: Health) -> Self {
        Self {
            layer,
            health: Sharded::new(health),
        }
    }

    fn map<M>(self, change: impl FnOnce(L) -> M) -> AnnounceDrainLayer<M> {
        AnnounceDrainLayer {
            layer: change(self.layer),
            health: self.health,
        }
    }
}

impl AnnounceDrainLayer<HealthLayer> {
    /// As [`HealthLayer::keep_body_type`].
    pub fn keep_body_type(self) -> AnnounceDrainLayer<KeepBodyLayer> {
        self.map(HealthLayer::keep_body_type)
    }

    /// As [`HealthLayer::answer_when_busy`].
    pub fn answer_when_busy(self) -> AnnounceDrainLayer<BusyLayer> {
        self.map(HealthLayer::answer_when_busy)
    }
}

impl<S, L: Layer<AnnounceDrainService<S>>> Layer<S> for AnnounceDrainLayer<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.layer.layer(AnnounceDrainService {
            inner,
            health: self.health.share(),
        })
    }
}

/// The inner service under a [`AnnounceDrainLayer`].
#[derive(Clone, Debug)]
pub struct AnnounceDrainService<S> {
    inner: S,
    health: Sharded<Health>,
}

impl<S, A, B> Service<Request<A>> for AnnounceDrainService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = AnnounceDrainFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let signal = if self.health.value().is_draining() {
            Signal::to(request.version())
        } else {
            Signal::None
        };
        AnnounceDrainFuture {
            future: self.inner.call(request),
            signal,
        }
    }
}

/// Decided when the request arrives: its response has no version of its own yet.
#[derive(Clone, Copy, Debug)]
enum Signal {
    None,
    /// For the proxy; the connection is shared with other requests.
    Marked,
    /// The same, and this connection ends.
    MarkedAndClosed,
}

impl Signal {
    fn to(version: Version) -> Self {
        if version < Version::HTTP_2 {
            Self::MarkedAndClosed
        } else {
            // The field that closes is forbidden there (RFC 9113, 8.2.2); the server's own GOAWAY
            // comes when it shuts down.
            Self::Marked
        }
    }

    #[cold]
    fn put(self, switched: bool, headers: &mut HeaderMap) {
        headers.insert(ENVOY, HeaderValue::from_static("true"));
        // A connection that becomes another protocol's is no longer ours to end.
        if matches!(self, Self::MarkedAndClosed) && !switched {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

pin_project! {
    /// The future of a [`AnnounceDrainService`] service. Dropping it drops the inner one's.
    pub struct AnnounceDrainFuture<F> {
        #[pin]
        future: F,
        signal: Signal,
    }
}

impl<F, B, E> Future for AnnounceDrainFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut polled = this.future.poll(cx);
        if let (Poll::Ready(Ok(response)), Signal::Marked | Signal::MarkedAndClosed) =
            (&mut polled, *this.signal)
        {
            let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            this.signal.put(switched, response.headers_mut());
        }
        polled
    }
}

impl<F> fmt::Debug for AnnounceDrainFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnnounceDrainFuture")
            .finish_non_exhaustive()
    }
}
