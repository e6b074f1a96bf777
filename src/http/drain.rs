use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use tower::util::{MapResponse, future::MapResponseFuture};
use tower_layer::Layer;
use tower_service::Service;

use crate::health::Health;

/// Envoy takes a host that sends this out of its cluster at once.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

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
    headers.insert(ENVOY, HeaderValue::from_static("true"));
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
