//! Three gRPC servers behind a real Envoy, with health checks over gRPC.

use std::{collections::HashSet, net::SocketAddr};

use axum::{Router, routing::post};
use http::{Request, Response};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tower_health::{Health, HealthLayer, service::AnnounceDrainLayer};

use crate::{
    helpers::{
        balanced::{Cluster, Envoy, LIMIT},
        switch::Switch,
        wire,
    },
    support::wait_until,
};

/// An app that names itself, and whose database can be made to fail.
struct Instance {
    address: SocketAddr,
    health: Health,
    database: Switch,
}

impl Instance {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let database = Switch::on();
        let health = Health::builder()
            .add(database.dependency("database"))
            .build();
        // A status in the head alone, as tonic itself sends an error: no message is needed here.
        let call = post(async move || {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "0")
                .header("served-by", address.to_string());
            head.body(axum::body::Body::empty()).expect("valid")
        });
        let router = Router::new().route("/app.Echo/Call", call);
        let server = Server::builder()
            .layer(HealthLayer::new(health.clone()).grpc())
            .layer(AnnounceDrainLayer::new(health.clone()))
            .add_routes(router.into())
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self {
            address,
            health,
            database,
        }
    }
}

/// Who answers ten calls.
async fn served_by(envoy: &Envoy) -> HashSet<String> {
    let mut client = wire::http2(envoy.address()).await;
    let mut served = HashSet::new();
    for _ in 0..10 {
        let request = Request::post(format!("http://{}/app.Echo/Call", envoy.address()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::default())
            .expect("valid");
        client.ready().await.expect("open");
        let answer = client.send_request(request).await.expect("answered");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "0");
        let by = answer.headers()["served-by"].to_str().expect("text");
        served.insert(by.to_owned());
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_not_serving_gets_no_calls() {
    let instances = [
        Instance::start().await,
        Instance::start().await,
        Instance::start().await,
    ];
    let addresses = instances.each_ref().map(|instance| instance.address);
    let envoy = Envoy::start(Cluster::Grpc, addresses).await;
    // Envoy's main thread, which answers, knows a moment before its workers do.
    let until_serving = async |servers: &[SocketAddr]| {
        let expected: HashSet<_> = servers.iter().map(ToString::to_string).collect();
        wait_until("the others serve", LIMIT, async || {
            served_by(&envoy).await == expected
        })
        .await;
    };
    let first = &instances[0];
    let out_and_back = async |out: &dyn Fn(bool)| {
        out(true);
        envoy.until(first.address, false).await;
        until_serving(&addresses[1..]).await;
        out(false);
        envoy.until(first.address, true).await;
        until_serving(&addresses).await;
    };
    out_and_back(&|out| first.database.set(!out)).await;
    out_and_back(&|out| first.health.set_draining(out)).await;
}
