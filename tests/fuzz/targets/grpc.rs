//! gRPC frames: the status of a call is what its bytes say, however they are cut, and no name is told.

#![no_main]

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower_health::{Dependency, Health, HealthLayer, HealthService, Outcome, Probe, mode::Grpc};
use tower_health_fuzz::Inner;
use tower_layer::Layer;
use tower_service::Service;

/// A dependency: known to those allowed details, and nobody is.
const SECRET: &str = "datenbank";
const KNOWN: [&str; 6] = [
    "",
    "liveness",
    "readiness",
    "startup",
    "orders",
    "shop.v1.Orders",
];
const MAX_MESSAGE: usize = 64 * 1024;
const MAX_NAME: usize = 200;

thread_local! {
    static WORLD: (Runtime, HealthService<Inner, Grpc>) = world();
}

// The method, how the body is cut, and the body.
fuzz_target!(|input: (u8, u8, &[u8])| {
    let (method, cut, body) = input;
    WORLD.with(|(runtime, service)| {
        let mut service = service.clone();
        runtime.block_on(async move {
            match method % 3 {
                0 => check(&mut service, cut, body).await,
                1 => watch(&mut service, cut, body).await,
                _ => list(&mut service, cut, body).await,
            }
        });
    });
});

async fn check(service: &mut HealthService<Inner, Grpc>, cut: u8, body: &[u8]) {
    let (code, answer) = outcome(call(service, "Check", cut, body).await).await;
    match Asked::by(body) {
        Asked::Nothing(expected) => assert_eq!((code, answer.len()), (expected, 0)),
        Asked::Service(name) if KNOWN.contains(&&*name) => {
            assert_eq!(
                (code, &answer[..]),
                (0, &b"\0\0\0\0\x02\x08\x01"[..]),
                "{name:?}"
            );
        }
        Asked::Service(name) => assert_eq!((code, answer.len()), (5, 0), "{name:?}"),
        Asked::Unclear => assert!([0, 5, 13].contains(&code), "{code}"),
    }
}

async fn watch(service: &mut HealthService<Inner, Grpc>, cut: u8, body: &[u8]) {
    let response = call(service, "Watch", cut, body).await;
    let unknown = &b"\0\0\0\0\x02\x08\x03"[..];
    let serving = &b"\0\0\0\0\x02\x08\x01"[..];
    match Asked::by(body) {
        Asked::Nothing(expected) => {
            assert_eq!(outcome(response).await, (expected, Bytes::new()));
        }
        Asked::Service(name) => {
            let known = KNOWN.contains(&&*name);
            let expected = if known { serving } else { unknown };
            // Open for good: the first word is all that comes.
            let mut body = pin!(response.into_body());
            let first = body.frame().await.expect("a frame").expect("no error");
            assert_eq!(
                first.into_data().ok().as_deref(),
                Some(expected),
                "{name:?}"
            );
        }
        Asked::Unclear => drop(response),
    }
}

async fn list(service: &mut HealthService<Inner, Grpc>, cut: u8, body: &[u8]) {
    let (code, answer) = outcome(call(service, "List", cut, body).await).await;
    // The request has no fields: what a name is to the others is unknown here.
    match Framed::by(body) {
        Framed::Nothing(expected) => assert_eq!((code, answer.len()), (expected, 0)),
        Framed::Message(_) => assert!([0, 13].contains(&code), "{code}"),
    }
    let told = answer
        .windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes());
    assert!(!told, "{SECRET} is told");
}

/// What the bytes of a body are.
enum Framed<'b> {
    /// No message, for which the call ends with this status.
    Nothing(u8),
    Message(&'b [u8]),
}

impl<'b> Framed<'b> {
    fn by(body: &'b [u8]) -> Self {
        match *body {
            [] => Self::Nothing(13),
            [flag, ..] if flag != 0 => Self::Nothing(13),
            [_, a, b, c, d, ref rest @ ..] => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if length > MAX_MESSAGE {
                    Self::Nothing(8)
                } else if rest.len() != length {
                    Self::Nothing(13)
                } else {
                    Self::Message(rest)
                }
            }
            _ => Self::Nothing(13),
        }
    }
}

enum Asked {
    Nothing(u8),
    Service(String),
    /// Protobuf has corners that are not this model's affair.
    Unclear,
}

impl Asked {
    fn by(body: &[u8]) -> Self {
        match Framed::by(body) {
            Framed::Nothing(code) => Self::Nothing(code),
            Framed::Message(message) => Self::in_message(message),
        }
    }

    /// The last field 1, a string; varints and lengths of other fields are skipped.
    fn in_message(mut message: &[u8]) -> Self {
        let mut name = Vec::new();
        while let Some((&key, rest)) = message.split_first() {
            let length = match (key, rest) {
                (0x0a, [length @ 0..=0x7f, ..]) => usize::from(*length),
                (0x10 | 0x18, [0..=0x7f, after @ ..]) => {
                    message = after;
                    continue;
                }
                _ => return Self::Unclear,
            };
            match rest.get(1..=length) {
                Some(text) => {
                    name = text.to_vec();
                    message = &rest[1 + length..];
                }
                None => return Self::Nothing(13),
            }
            if std::str::from_utf8(&name).is_err() {
                return Self::Nothing(13);
            }
        }
        assert!(name.len() <= MAX_NAME, "one byte of length");
        String::from_utf8(name).map_or(Self::Nothing(13), Self::Service)
    }
}

async fn call(
    service: &mut HealthService<Inner, Grpc>,
    method: &str,
    cut: u8,
    body: &[u8],
) -> Response<impl Body<Data = Bytes, Error = Infallible> + use<>> {
    let chunks = body.chunks(usize::from(cut).max(1));
    let body = Chunks(chunks.map(Bytes::copy_from_slice).collect());
    let body: UnsyncBoxBody<Bytes, Infallible> = body.boxed_unsync();
    let request = Request::post(format!("/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .body(body)
        .expect("valid");
    poll_fn(|cx| Service::<Request<UnsyncBoxBody<Bytes, Infallible>>>::poll_ready(service, cx))
        .await
        .expect("ready");
    let response = service.call(request).await.expect("answered");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    response
}

/// The status, in the head or in the trailers, and the body.
async fn outcome<B>(response: Response<B>) -> (u8, Bytes)
where
    B: Body<Data = Bytes, Error = Infallible>,
{
    let in_head = response.headers().get("grpc-status").cloned();
    let body = response.into_body().collect().await.expect("no error");
    let in_trailers = body.trailers().and_then(|map| map.get("grpc-status"));
    assert!(in_head.is_some() != in_trailers.is_some(), "one status");
    let status = in_head.as_ref().or(in_trailers).expect("a status");
    let code = status.to_str().expect("text").parse().expect("a number");
    (code, body.to_bytes())
}

fn world() -> (Runtime, HealthService<Inner, Grpc>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build();
    let runtime = runtime.expect("starts");
    let service = {
        let _entered = runtime.enter();
        let dependency = Dependency::new(SECRET, async || Ok(Outcome::up()));
        let health = Health::builder()
            .add(dependency.group("orders"))
            .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
            .build();
        HealthLayer::new(health).grpc().layer(Inner)
    };
    (runtime, service)
}

/// A body that comes in pieces.
struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|chunk| chunk.len() as u64).sum())
    }
}
