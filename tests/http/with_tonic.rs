//! The layer around a tonic server: HTTP probes next to a gRPC service.

use std::net::SocketAddr;

use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    transport::{Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tower_health::{Access, HealthLayer};

use crate::helpers::{
    server::{listen, up},
    wire::{self, Wire, soon},
};

/// The service of tonic-health plays any service of the app.
async fn serve(layer: HealthLayer) -> SocketAddr {
    let (reporter, service) = tonic_health::server::health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status("app", serving).await;
    let (listener, address) = listen().await;
    let mut server = Server::builder().accept_http1(true).layer(layer);
    let router = server.add_service(service);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test]
async fn probes_and_calls_are_answered_by_one_server() {
    let address = serve(HealthLayer::new(up())).await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("valid");
    let mut grpc = HealthClient::new(soon(endpoint.connect()).await.expect("connects"));
    let request = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = wire::get(address, "/readyz").await;
    assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
    let watch = soon(grpc.watch(request("app"))).await.expect("serves");
    let first = soon(watch.into_inner().message()).await.expect("no error");
    assert_eq!(first.expect("a message").status, 1);
    // tonic sends this status in the response headers.
    let unknown = soon(grpc.check(request("unknown"))).await;
    assert_eq!(unknown.expect_err("none").code(), Code::NotFound);
}

#[tokio::test]
async fn a_local_peer_gets_details_with_the_feature_only() {
    let layer = HealthLayer::new(up()).details(Access::loopback());
    let address = serve(layer).await;
    let answer = wire::get(address, "/health").await;
    let sees = answer.body.contains(r#""database":{"status":"up""#);
    assert_eq!(sees, cfg!(feature = "tonic"), "{}", answer.body);
    // Otherwise tonic answers the path of a dependency.
    let one = wire::get(address, "/health/database").await;
    assert_eq!(one.header("grpc-status").is_none(), sees);

    let mut forwarded = Wire::connect(address).await;
    let headers = "host: localhost\r\nx-forwarded-for: 127.0.0.1";
    forwarded
        .send(format!("GET /health HTTP/1.1\r\n{headers}\r\n\r\n"))
        .await;
    assert_eq!(forwarded.answer().await.body, r#"{"status":"up"}"#);
}
