use std::task::{Context, Poll};

use tower::util::Oneshot;
use tower_layer::{LayerFn, layer_fn};
use tower_service::Service;

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
/// `poll_ready` and has no way to give it back, so a [`HealthService`](crate::service::HealthService) that answers a
/// probe itself holds the place until the next request or until it is dropped. Servers of hyper
/// and tonic drop it at once. A `tower::buffer` around it does not.
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
