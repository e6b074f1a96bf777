//! Layers for the inner service: one announces the drain on its responses, one makes it always ready.

use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use tower::util::{MapResponse, Oneshot, future::MapResponseFuture};
use tower_layer::{Layer, LayerFn, layer_fn};
use tower_service::Service;

use super::rendered_answer::ENVOY_FAIL;
use crate::health::Health;

/// Announces on ordinary responses that the app drains, so that proxies leave without another probe.
///
/// While [`Health::is_draining`] when a request arrives, its response carries
/// `x-envoy-immediate-health-check-fail: true`, and over HTTP/1 `connection: close`. Envoy then takes the host
/// out of its cluster at once, and every client opens its next connection elsewhere. A switch of
/// protocols gets no `connection: close`, and a request that arrived before the drain gets neither
/// field. Every client can read the field. It reveals only that this process is about to stop.
///
/// Place it inside the [`HealthLayer`](crate::HealthLayer), so that answers to probes stay as they are:
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_health::{Health, HealthLayer, service::AnnounceDrainLayer};
///
/// # fn wrap<S>(app: S) -> impl Sized {
/// let health = Health::builder().build();
/// ServiceBuilder::new()
///     .layer(HealthLayer::new(health.clone()))
///     .layer(AnnounceDrainLayer::new(health))
///     .service(app)
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct AnnounceDrainLayer {
    health: Health,
}

impl AnnounceDrainLayer {
    /// Makes a layer that announces the drain of `health`.
    pub fn new(health: Health) -> Self {
        Self { health }
    }
}

impl<S> Layer<S> for AnnounceDrainLayer {
    type Service = AnnounceDrainService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AnnounceDrainService {
            inner,
            health: self.health.clone(),
        }
    }
}

/// The service that an [`AnnounceDrainLayer`] makes.
#[derive(Clone, Debug)]
pub struct AnnounceDrainService<S> {
    inner: S,
    health: Health,
}

impl<S, A, B> Service<Request<A>> for AnnounceDrainService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = MapResponseFuture<S::Future, fn(Response<B>) -> Response<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        // Decided here: a response does not know yet by which version it is sent.
        let announce: fn(Response<B>) -> Response<B> = if !self.health.is_draining() {
            |response| response
        } else if request.version() < Version::HTTP_2 {
            |response| closed(announced(response))
        } else {
            // `connection` is forbidden there (RFC 9113, 8.2.2). The server sends GOAWAY when it stops.
            announced
        };
        MapResponse::new(&mut self.inner, announce).call(request)
    }
}

fn announced<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(ENVOY_FAIL, HeaderValue::from_static("true"));
    response
}

/// Ends the connection, unless it is about to carry another protocol.
fn closed<B>(mut response: Response<B>) -> Response<B> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A service that is always ready: each request waits for the inner service in its own future.
///
/// Inside a [`HealthLayer`](crate::HealthLayer) it lets probes be answered while the app is busy, as when its
/// concurrency limit is full. No back-pressure reaches the layers outside of it.
/// The inner service must be `Clone`.
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_health::{Health, HealthLayer, service::BusyService};
///
/// # fn wrap<S>(app: S) -> impl Sized {
/// ServiceBuilder::new()
///     .layer(HealthLayer::new(Health::builder().build()))
///     .layer(BusyService::layer())
///     .concurrency_limit(100)
///     .service(app)
/// # }
/// ```
///
/// It also keeps a probe from holding a place in the inner service. A tower service reserves a place in
/// `poll_ready` and cannot give it back. A [`HealthService`](crate::service::HealthService) that answers a probe
/// itself holds the place until the next request or until it is dropped. Servers of hyper and tonic drop
/// it at once. A `tower::buffer` around it does not.
#[derive(Clone, Debug)]
pub struct BusyService<S> {
    inner: S,
}

impl<S> BusyService<S> {
    /// Makes `inner` always ready.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// Makes a layer that applies [`new`](Self::new).
    pub fn layer() -> LayerFn<fn(S) -> Self> {
        layer_fn(Self::new)
    }
}

impl<S, R> Service<R> for BusyService<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        Oneshot::new(self.inner.clone(), request)
    }
}
