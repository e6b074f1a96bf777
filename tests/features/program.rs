//! One program for every set of features: `run.sh` compiles it with none and with all, and compares what it prints.
#![allow(missing_docs)]

use std::{convert::Infallible, fmt::Debug};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
    service::{AnnounceDrainLayer, BusyService},
};

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "OPTIONS"];
const TARGETS: [&str; 8] = [
    "/",
    "/livez",
    "/readyz?verbose",
    "/health",
    "/health/database",
    "/status",
    "/grpc.health.v1.Health/Check",
    "http://test/readyz",
];
const ACCEPTS: [&str; 4] = [
    "*/*",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "application/openmetrics-text",
    "application/vnd.tower-health.page+json",
];

async fn app<A>(_: Request<A>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("app")))
}

/// Compiles with every set of features, or not at all.
fn borrows(body: &str) {
    let layer = HealthLayer::new(Health::builder().build());
    let request = || Request::new(body);
    drop(layer.layer(service_fn(app::<&str>)).call(request()));
    let layer = layer.keep_body_type();
    drop(layer.layer(service_fn(app::<&str>)).call(request()));
}

async fn print<S, B>(name: &str, service: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Error: Debug>,
{
    for method in METHODS {
        for target in TARGETS {
            for accept in ACCEPTS {
                let request = Request::builder()
                    .method(method)
                    .uri(target)
                    .header("host", "test")
                    .header("accept", accept)
                    .header("content-type", "application/grpc")
                    .body(Full::default());
                let Ok(response) = service.clone().oneshot(request.expect("valid")).await;
                let (head, body) = response.into_parts();
                let length = body.size_hint().exact();
                let body = body.collect().await.expect("whole").to_bytes();
                println!("== {name}: {method} {target} {accept}\n{head:#?}\n{length:?} {body:?}");
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
    let inner = service_fn(app);
    print("defaults", layer().layer(inner)).await;
    print("details", open().layer(inner)).await;
    print("kept body", open().keep_body_type().layer(inner)).await;
    print("text", open().format(Format::text()).layer(inner)).await;
    let one = layer().path_with_format("/status", Probe::Full, Format::spring());
    print("one format", one.layer(inner)).await;
    let denied = layer().allow(Access::nobody()).forward_denied();
    print("denied", denied.layer(inner)).await;
    health.set_draining(true);
    let inner = AnnounceDrainLayer::new(health.clone()).layer(inner);
    print("draining", layer().layer(BusyService::new(inner))).await;
}
