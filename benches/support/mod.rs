//! What every bench compares with: a bare service whose future is as large as a real handler's.
// Each bench uses a part of it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations
)]

pub mod callgrind;
pub mod contestants;
pub mod plot;
pub mod statistics;
pub mod wire;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use tower_health::{Health, HealthLayer, Outcome};
use tower_service::Service;

/// The size of an axum route's future, roughly.
pub const FUTURE_SIZE: usize = 264;
const BALLAST: usize = (FUTURE_SIZE - size_of::<Option<Response<Full<Bytes>>>>()) / 8;

/// Ready at once.
pub struct Answer {
    response: Option<Response<Full<Bytes>>>,
    _ballast: [u64; BALLAST],
}

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.response.take().expect("polled once")))
    }
}

/// The inner service.
#[derive(Clone, Debug)]
pub struct Bare;

impl<A> Service<Request<A>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Answer {
        drop(request);
        Answer {
            response: Some(Response::new(Full::from("hello"))),
            _ballast: [0; BALLAST],
        }
    }
}

/// A request as a prober sends it: two headers.
pub fn request(path: &str) -> Request<()> {
    Request::builder()
        .uri(path)
        .header(header::HOST, HeaderValue::from_static("localhost"))
        .header(
            header::USER_AGENT,
            HeaderValue::from_static("kube-probe/1.33"),
        )
        .body(())
        .expect("valid")
}

/// Four default paths.
pub fn layer() -> HealthLayer {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .check("cache", async || Ok(Outcome::up()))
        .build();
    HealthLayer::new(health)
}

/// Calls and polls once as hyper does: into a slot on the heap.
#[inline(never)]
pub fn drive<S, B>(
    service: &mut S,
    request: Request<()>,
    slot: &mut Pin<Box<Option<S::Future>>>,
) -> Response<B>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let _ = service.poll_ready(&mut cx);
    slot.set(Some(service.call(request)));
    let future = slot.as_mut().as_pin_mut().expect("just set");
    let Poll::Ready(Ok(response)) = future.poll(&mut cx) else {
        unreachable!("everything here is ready at once")
    };
    slot.set(None);
    response
}
