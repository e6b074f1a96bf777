//! A health service behind a real server, and clients that call it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, IntoRequest, Response, Status, Streaming};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tower_health::grpc::GrpcService;

use super::server::listen;
pub use super::wire::soon;

pub const SERVING: i32 = 1;
pub const NOT_SERVING: i32 = 2;
pub const SERVICE_UNKNOWN: i32 = 3;

/// A tonic server whose only service is this one.
pub async fn serve(service: GrpcService) -> SocketAddr {
    let (listener, address) = listen().await;
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    soon(endpoint.connect()).await.expect("connects")
}

pub async fn client(address: SocketAddr) -> HealthClient<Channel> {
    HealthClient::new(channel(address).await)
}

pub fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

/// The status in a response, or its code.
pub fn status(found: Result<Response<HealthCheckResponse>, Status>) -> Result<i32, Code> {
    let status = found.map(|response| response.into_inner().status);
    status.map_err(|status| status.code())
}

/// The status that `Check` answers, or its code.
pub async fn check(client: &mut HealthClient<Channel>, service: &str) -> Result<i32, Code> {
    status(soon(client.check(ask(service))).await)
}

/// Waits until `Check` answers `status`.
pub async fn becomes(client: &mut HealthClient<Channel>, service: &str, status: i32) {
    soon(async {
        while check(client, service).await != Ok(status) {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// An open watch.
pub struct Watch(Streaming<HealthCheckResponse>);

pub async fn watch(client: &mut HealthClient<Channel>, service: &str) -> Watch {
    let response = soon(client.watch(ask(service))).await.expect("accepted");
    Watch(response.into_inner())
}

impl Watch {
    /// The next status, or the code that the stream ended with.
    pub async fn next(&mut self) -> Result<i32, Code> {
        match soon(self.0.message()).await {
            Ok(Some(response)) => Ok(response.status),
            Ok(None) => Err(Code::Ok),
            Err(status) => Err(status.code()),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthListResponse {
    #[prost(map = "string, message", tag = "1")]
    pub statuses: HashMap<String, HealthCheckResponse>,
}

/// What `List` answers: tonic-health's client has no such method.
pub async fn list(
    address: SocketAddr,
    request: impl IntoRequest<HealthListRequest>,
) -> Result<BTreeMap<String, i32>, Code> {
    let mut client = tonic::client::Grpc::new(channel(address).await);
    soon(client.ready()).await.expect("ready");
    let path = "/grpc.health.v1.Health/List".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<HealthListRequest, HealthListResponse>::default();
    let found = soon(client.unary(request.into_request(), path, codec)).await;
    let response = found.map_err(|status| status.code())?;
    let statuses = response.into_inner().statuses.into_iter();
    Ok(statuses.map(|(name, one)| (name, one.status)).collect())
}
