use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use super::{
    SERVICE,
    asked::Asked,
    call::{Answering, Opening, Rules},
};
use crate::{access::Access, health::Health};

/// `grpc.health.v1.Health` as a tonic service. Made by [`Health::grpc_service`].
#[derive(Clone, Debug)]
#[must_use = "a service does nothing until it is added to a server"]
pub struct GrpcService {
    health: Health,
    allow: Access,
    details: Access,
}

impl Health {
    /// The health service for those who route by hand: `Server::builder().add_service(..)`,
    /// `Routes::new(..)`, or any server that takes a tower service.
    ///
    /// The same answers as those of a [`HealthLayer`](crate::HealthLayer). Everybody may ask; nobody
    /// learns of dependencies by name.
    ///
    /// ```
    /// use tower_health::{Access, Health};
    ///
    /// let health = Health::builder().build();
    /// let service = health.grpc_service().details(Access::loopback());
    /// let server = tonic::transport::Server::builder().add_service(service);
    /// # drop(server);
    /// ```
    pub fn grpc_service(&self) -> GrpcService {
        GrpcService::new(self.clone(), Access::nobody(), Access::everybody())
    }
}

impl GrpcService {
    pub(crate) fn new(health: Health, details: Access, allow: Access) -> Self {
        Self {
            health,
            allow,
            details,
        }
    }

    /// Who may ask at all; others get `PERMISSION_DENIED`. Default: everybody.
    pub fn allow(mut self, access: Access) -> Self {
        self.allow = access;
        self
    }

    /// Who may ask for dependencies by name and sees them listed. Default: nobody.
    pub fn details(mut self, access: Access) -> Self {
        self.details = access;
        self
    }
}

impl NamedService for GrpcService {
    const NAME: &'static str = SERVICE;
}

impl<A> Service<Request<A>> for GrpcService
where
    A: Body + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = GrpcFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> GrpcFuture {
        let rules = Rules {
            allow: &self.allow,
            details: &self.details,
        };
        let opening = Opening::of(rules, &request);
        let (parts, body) = request.into_parts();
        GrpcFuture {
            answer: opening.answer(&self.health, parts.headers, Asked::any(body)),
        }
    }
}

/// The future of a [`GrpcService`]. Dropping it cancels no run.
pub struct GrpcFuture {
    answer: Answering,
}

impl Future for GrpcFuture {
    type Output = Result<Response<tonic::body::Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.poll(cx);
        answer.map(|response| Ok(response.map(tonic::body::Body::new)))
    }
}

impl fmt::Debug for GrpcFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcFuture").finish_non_exhaustive()
    }
}
