use std::{
    convert::Infallible,
    error::Error,
    future::{Future, ready as resolved},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use tokio::time::Instant;
use tonic::{Status, async_trait, codegen::tokio_stream::Stream, server::NamedService};
use tower_service::Service;

use super::{
    generated::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus,
        health_server::{Health as HealthCalls, HealthServer},
    },
    protocol::SERVICE,
};
use crate::{
    access::{Access, Detail, RequestHead},
    bounds::LONGEST_SERVICE,
    health::{Health, Watch, WatchedStatus},
    probe::Probe,
};

/// A longer request is rejected unread. A name has at most 200 bytes.
const MAX_REQUEST_BYTES: usize = 1_024;

/// The gRPC health service, as a tonic service. Made by [`Health::grpc_service`].
#[derive(Clone, Debug)]
#[must_use = "a service does nothing until it is added to a server"]
pub struct GrpcService {
    health: Health,
    // Shared, because each call has a clone of the service.
    details: Arc<Access>,
    allow: Arc<Access>,
}

impl Health {
    /// Makes the gRPC health service, for `Server::builder().add_service(..)` or any other tower server.
    ///
    /// Every caller may call it. No caller sees the names of groups and dependencies.
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
            details: details.into(),
            allow: allow.into(),
        }
    }

    /// Sets which callers may call the service; others get `PERMISSION_DENIED`. Default: every caller.
    pub fn allow(mut self, access: Access) -> Self {
        self.allow = access.into();
        self
    }

    /// Sets which callers see the names of groups and dependencies. Default: no caller.
    pub fn details(mut self, access: Access) -> Self {
        self.details = access.into();
        self
    }
}

impl NamedService for GrpcService {
    const NAME: &'static str = SERVICE;
}

impl<B> Service<Request<B>> for GrpcService
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.version() < Version::HTTP_2 {
            return Box::pin(resolved(Ok(needs_http2())));
        }
        let head = RequestHead::of(&request, self.health.missing_peer());
        if !self.allow.allows(&head) {
            let denied = Status::permission_denied("not allowed");
            return Box::pin(resolved(Ok(denied.into_http())));
        }
        let caller = Caller {
            health: self.health.clone(),
            sees_details: self.details.detail(&head) == Detail::Full,
            peer: head.recorded_peer(),
        };
        HealthServer::new(caller)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .call(request)
    }
}

/// Rejects a call over HTTP/1.x: an open `Watch` would keep its connection during a graceful shutdown.
fn needs_http2() -> Response<tonic::body::Body> {
    let mut response = Status::unimplemented("gRPC needs HTTP/2").into_http();
    *response.status_mut() = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    response
}

/// The caller of one call.
struct Caller {
    health: Health,
    sees_details: bool,
    peer: Option<SocketAddr>,
}

#[async_trait]
impl HealthCalls for Caller {
    type WatchStream = WatchStream;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let name = service_name(&request)?;
        let unknown = || Status::not_found("unknown service");
        let target = self.health.resolve(name, self.sees_details);
        let target = target.ok_or_else(unknown)?;
        let now = Instant::now();
        let mut current = self.health.current_status(target, now, false);
        if !current.is_valid(now) {
            // `None` if the dependency was removed in the meantime.
            let evaluation = self.health.evaluate_target(target);
            evaluation.ok_or_else(unknown)?.wait().await;
            current = self.health.current_status(target, Instant::now(), false);
        }
        let status = WatchedStatus::from(current.status);
        Ok(tonic::Response::new(status.into()))
    }

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<WatchStream>, Status> {
        let name = service_name(&request)?;
        let watch = self.health.watch(name, self.sees_details, self.peer);
        let watch = watch.map_err(|_| Status::resource_exhausted("too many open watches"))?;
        Ok(tonic::Response::new(WatchStream::new(watch)))
    }

    async fn list(
        &self,
        _: tonic::Request<HealthListRequest>,
    ) -> Result<tonic::Response<HealthListResponse>, Status> {
        let names = self.health.listed_names(self.sees_details);
        let names = names.ok_or_else(|| Status::resource_exhausted("more than 100 services"))?;
        // All runs that are due are concurrent.
        self.health.evaluate(&Probe::Full, &[]).wait().await;
        let now = Instant::now();
        let statuses = names.into_iter().filter_map(|name| {
            let target = self.health.resolve(&name, self.sees_details)?;
            let current = self.health.current_status(target, now, false);
            Some((name, WatchedStatus::from(current.status).into()))
        });
        Ok(tonic::Response::new(HealthListResponse {
            statuses: statuses.collect(),
        }))
    }
}

fn service_name(request: &tonic::Request<HealthCheckRequest>) -> Result<&str, Status> {
    let name = &request.get_ref().service;
    if name.len() > LONGEST_SERVICE {
        let message = "the service name is longer than 200 bytes";
        return Err(Status::invalid_argument(message));
    }
    Ok(name)
}

impl From<WatchedStatus> for HealthCheckResponse {
    fn from(status: WatchedStatus) -> Self {
        let status = match status {
            WatchedStatus::Serving => ServingStatus::Serving,
            WatchedStatus::NotServing => ServingStatus::NotServing,
            WatchedStatus::UnknownName => ServingStatus::ServiceUnknown,
        };
        Self {
            status: status.into(),
        }
    }
}

/// The stream of one `Watch` call.
struct WatchStream {
    next: Pin<Box<dyn Future<Output = (Watch, Option<WatchedStatus>)> + Send>>,
}

impl WatchStream {
    fn new(mut watch: Watch) -> Self {
        Self {
            next: Box::pin(async move {
                let status = watch.next().await;
                (watch, status)
            }),
        }
    }
}

impl Stream for WatchStream {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (watch, status) = ready!(self.next.as_mut().poll(cx));
        *self = Self::new(watch);
        let ended = || Status::unavailable("the server shuts down");
        Poll::Ready(Some(status.map(Into::into).ok_or_else(ended)))
    }
}
