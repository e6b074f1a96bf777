//! One program for every set of features: `run.sh` compiles it with none and with all, and compares what it prints.
#![allow(missing_docs)]

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower::{Layer, Service, service_fn};
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
    service::{AnnounceDrainLayer, BusyService},
};

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "OPTIONS"];
const TARGETS: [&str; 12] = [
    "/",
    "/livez",
    "/readyz?verbose",
    "/startupz",
    "/health",
    "/health/database",
    "/health/unknown",
    "/status",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health",
    "http://test/readyz",
];
const ACCEPTS: [&str; 6] = [
    "*/*",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/plain",
    "application/health+json",
    "application/openmetrics-text",
    "application/vnd.tower-health.page+json",
];

async fn app(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("app")))
}

/// Compiles with every set of features, or not at all.
fn borrows(body: &str) {
    let inner =
        |_: Request<&str>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) };
    let layer = HealthLayer::new(Health::builder().build());
    drop(layer.layer(service_fn(inner)).call(Request::new(body)));
}

async fn print<S, B>(name: &str, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    for method in METHODS {
        for target in TARGETS {
            for accept in ACCEPTS {
                let (server, mut client) = duplex(1 << 20);
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nhost: test\r\naccept: {accept}\r\n\
                     content-type: application/grpc\r\nconnection: close\r\n\r\n"
                );
                client.write_all(request.as_bytes()).await.expect("sent");
                let served = http1::Builder::new()
                    .auto_date_header(false)
                    .serve_connection(
                        TokioIo::new(server),
                        TowerToHyperService::new(service.clone()),
                    );
                served.await.expect("served");
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.expect("text");
                println!("== {name}: {method} {target} {accept}\n{answer}");
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    borrows(&String::from("a body"));
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .add(Dependency::new("search", async || Err(Failure::new(Reason::Refused))).optional())
        .info("version", "1")
        .build();
    health.report().await;
    let layer = || HealthLayer::new(health.clone()).without_measurements();
    let open = || layer().details(Access::everybody());
    print("defaults", layer().layer(service_fn(app))).await;
    print("details", open().layer(service_fn(app))).await;
    print("kept body", open().keep_body_type().layer(service_fn(app))).await;
    print("text", open().format(Format::text()).layer(service_fn(app))).await;
    let one = layer().path_with_format("/status", Probe::Full, Format::spring());
    print("one format", one.layer(service_fn(app))).await;
    let denied = layer().allow(Access::nobody()).forward_denied();
    print("denied", denied.layer(service_fn(app))).await;
    health.set_draining(true);
    let inner = AnnounceDrainLayer::new(health.clone()).layer(service_fn(app));
    print("draining", layer().layer(BusyService::new(inner))).await;
}
