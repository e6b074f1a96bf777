//! Instructions per `Check`, counted by callgrind, beside tonic-health's own service: from the request
//! to the last trailer, with the same request body.
//!
//! `cargo bench --features grpc --bench grpc`

mod support;

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body;
use http_body_util::Full;
use prost::Message;
use support::callgrind::{REQUESTS, count, is_missing, variant};
use tonic_health::{ServingStatus, pb::HealthCheckRequest, server::health_reporter};
use tower_health::{Dependency, Health, HealthLayer, Outcome};
use tower_layer::Layer;
use tower_service::Service;

/// Ours, theirs, the most that ours may cost in hundredths of theirs.
const LIMITS: &[(&str, &str, i64)] = &[
    ("check", "tonic_health_check", 50),
    ("check_group", "tonic_health_check_group", 50),
    ("by_hand_check", "tonic_health_check", 50),
];

type Asked = Request<tonic::body::Body>;

fn main() {
    match variant() {
        Some(variant) => run(&variant),
        None => measure_all(),
    }
}

fn measure_all() {
    if is_missing("grpc") {
        return;
    }
    let mut failed = false;
    for (ours, theirs, limit) in LIMITS {
        let (our, their) = (count(ours), count(theirs));
        let share = our * 100 / their;
        failed |= share > *limit;
        println!("{ours:<16} {our:>6}   {theirs:<26} {their:>6}   {share} % (limit {limit} %)");
    }
    assert!(!failed, "a call costs more instructions than its limit");
}

fn run(variant: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    // Without a budget: all calls are one turn of one task.
    runtime.block_on(tokio::task::unconstrained(async {
        match variant {
            "check" => repeat(HealthLayer::new(health().await).layer(Inner), ""),
            "check_group" => repeat(HealthLayer::new(health().await).layer(Inner), "orders"),
            "by_hand_check" => repeat(health().await.grpc_service(), ""),
            "tonic_health_check" | "tonic_health_check_group" => {
                let (reporter, service) = health_reporter();
                let serving = ServingStatus::Serving;
                reporter.set_service_status("orders", serving).await;
                let all = variant == "tonic_health_check";
                repeat(service, if all { "" } else { "orders" });
            }
            other => unreachable!("{other} is no variant"),
        }
    }));
}

/// Two dependencies whose verdicts hold for the whole measurement.
async fn health() -> Health {
    let hour = Duration::from_secs(3_600);
    let up = async || Ok(Outcome::up());
    let health = Health::builder()
        .add(
            Dependency::new("database", up)
                .cache_for(hour)
                .group("orders"),
        )
        .add(Dependency::new("cache", up).cache_for(hour).group("orders"))
        .build();
    let _ = health.report().await;
    health
}

/// Never reached.
#[derive(Clone, Debug)]
struct Inner;

impl Service<Asked> for Inner {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Asked) -> Self::Future {
        unreachable!("the layer answers")
    }
}

fn request(name: &str) -> Asked {
    let message = HealthCheckRequest {
        service: name.to_owned(),
    };
    let mut frame = vec![0, 0, 0, 0, message.encoded_len() as u8];
    frame.extend(message.encode_to_vec());
    let body = tonic::body::Body::new(Full::new(Bytes::from(frame)));
    Request::post("/grpc.health.v1.Health/Check")
        .version(Version::HTTP_2)
        .header(header::TE, HeaderValue::from_static("trailers"))
        .header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        )
        .header(
            header::USER_AGENT,
            HeaderValue::from_static("kube-probe/1.33"),
        )
        .body(body)
        .expect("valid")
}

fn repeat<S, B>(mut service: S, name: &str)
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Debug>,
{
    // Lazy statics and thread locals are made outside the count.
    assert_eq!(measured(&mut service, request(name)), 2);
    for _ in 0..REQUESTS {
        // Made one at a time, as on a server: a thousand at once leave the allocator's fast path, and
        // to free them would be a fifth of the count.
        let request = request(name);
        assert_eq!(measured(&mut service, request), 2);
    }
}

/// The only function that is counted, with all it calls. Returns the count of frames.
#[inline(never)]
fn measured<S, B>(service: &mut S, request: Asked) -> usize
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let _ = service.poll_ready(&mut cx);
    let mut future = pin!(service.call(black_box(request)));
    let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        unreachable!("everything here is ready at once")
    };
    let mut body = pin!(response.into_body());
    let mut frames = 0;
    while let Poll::Ready(Some(frame)) = Pin::as_mut(&mut body).poll_frame(&mut cx) {
        drop(black_box(frame.expect("never fails")));
        frames += 1;
    }
    frames
}
