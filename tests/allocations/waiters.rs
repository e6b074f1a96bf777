//! The memory of a caller that waits for a run.

use std::{
    convert::Infallible,
    future::{Future, Ready, pending},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_health::{Health, HealthLayer, Probe};

use super::counting::HELD;

const CALLERS: usize = 10_000;
/// The limit of the contract, for one waiter.
const MAXIMUM: usize = 400;

/// A handle whose run does not end.
fn health() -> Health {
    Health::builder()
        .check("database", async || pending().await)
        .build()
}

/// An app that no request reaches. Its future is smaller than the layer's, so that the layer's is measured.
struct Unreachable;

impl Service<Request<()>> for Unreachable {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        panic!("a probe reached the app")
    }
}

/// Asserts the memory of each caller once all wait: its future with the timer, and its place in the queue.
///
/// `inputs` are not counted: they would exist without the layer.
fn assert_memory<I, F: Future>(inputs: Vec<I>, mut call: impl FnMut(I) -> Pin<Box<F>>) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Vec::with_capacity(inputs.len());
    let callers = inputs.len();
    let before = HELD.get();
    for input in inputs {
        let mut future = call(input);
        assert!(future.as_mut().poll(&mut cx).is_pending());
        waiting.push(future);
    }
    let each = (HELD.get() - before) / callers;
    assert!((1..=MAXIMUM).contains(&each), "{each} bytes");
}

#[tokio::test]
async fn a_waiting_caller_of_the_handle_holds_at_most_400_bytes() {
    assert_memory(vec![health(); CALLERS], |health| {
        Box::pin(async move { health.report_for(&Probe::Readiness).await })
    });
}

#[tokio::test]
async fn a_waiting_caller_of_the_layer_holds_at_most_400_bytes() {
    let mut service = HealthLayer::new(health()).layer(Unreachable);
    // These requests allocate nothing: each is dropped before the wait.
    let request = |_| {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("/readyz");
        request
    };
    let requests: Vec<_> = (0..CALLERS).map(request).collect();
    assert_memory(requests, |request| Box::pin(service.call(request)));
}
