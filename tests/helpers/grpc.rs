//! A health service behind a real server, and clients that call it.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, IntoRequest, Request, Streaming,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tower_health::grpc::GrpcService;

pub use super::wire::soon;

pub const SERVING: i32 = 1;
pub const NOT_SERVING: i32 = 2;
pub const SERVICE_UNKNOWN: i32 = 3;

/// Binds a free port of loopback.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// A tonic server whose only service is this one.
pub async fn serve(service: GrpcService) -> SocketAddr {
    let (listener, address) = listener().await;
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

/// The status that `Check` answers, or its code.
pub async fn check(client: &mut HealthClient<Channel>, service: &str) -> Result<i32, Code> {
    match soon(client.check(ask(service))).await {
        Ok(response) => Ok(response.into_inner().status),
        Err(status) => Err(status.code()),
    }
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

    /// Whether no message arrives for `time`.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        timeout(time, self.0.message()).await.is_err()
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
pub async fn list(channel: Channel) -> Result<BTreeMap<String, i32>, Code> {
    list_with(channel, HealthListRequest {}).await
}

/// The same for a request with metadata.
pub async fn list_with(
    channel: Channel,
    request: impl IntoRequest<HealthListRequest>,
) -> Result<BTreeMap<String, i32>, Code> {
    let mut client = tonic::client::Grpc::new(channel);
    soon(client.ready()).await.expect("ready");
    let path = "/grpc.health.v1.Health/List".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<HealthListRequest, HealthListResponse>::default();
    let request: Request<_> = request.into_request();
    match soon(client.unary(request, path, codec)).await {
        Ok(response) => {
            let statuses = response.into_inner().statuses.into_iter();
            Ok(statuses
                .map(|(name, response)| (name, response.status))
                .collect())
        }
        Err(status) => Err(status.code()),
    }
}
