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

use super::server::{listen, send, up};
use crate::helpers::wire::{self, soon};

/// The service of tonic-health plays any service of the app.
async fn serve(layer: HealthLayer) -> SocketAddr {
    let (reporter, service) = tonic_health::server::health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status("app", serving).await;
    let (listener, address) = listen().await;
    let server = Server::builder()
        .accept_http1(true)
        .layer(layer)
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
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
    for _ in 0..2 {
        let answer = wire::get(address, "/readyz").await;
        assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
        let reply = soon(grpc.check(request("app"))).await.expect("serves");
        assert_eq!(reply.into_inner().status, 1);
        // tonic sends this status in the response headers.
        let error = soon(grpc.check(request("unknown")))
            .await
            .expect_err("none");
        assert_eq!(error.code(), Code::NotFound);
    }
    let watch = soon(grpc.watch(request("app"))).await.expect("serves");
    let first = soon(watch.into_inner().message()).await.expect("no error");
    assert_eq!(first.expect("a message").status, 1);

    let post = "POST /readyz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(send(address, post).await.code, 405);
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

    let forwarded = "host: localhost\r\nx-forwarded-for: 127.0.0.1\r\n\r\n";
    let answer = send(address, &format!("GET /health HTTP/1.1\r\n{forwarded}")).await;
    assert_eq!(answer.body, r#"{"status":"up"}"#);
}
