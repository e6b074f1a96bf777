//! The memory of a caller that waits for a run.

use std::{
    convert::Infallible,
    future::{Future, Ready, pending},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_health::{Health, HealthLayer};

use super::HELD;

const CALLERS: usize = 10_000;

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
        unreachable!("a probe reached the app")
    }
}

/// Its future with the timer, and its place in the queue.
#[tokio::test]
async fn a_waiting_caller_holds_at_most_400_bytes() {
    let check = async || pending().await;
    let health = Health::builder().check("database", check).build();
    let mut service = HealthLayer::new(health).layer(Unreachable);
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Vec::with_capacity(CALLERS);
    let before = HELD.get();
    for _ in 0..CALLERS {
        // It allocates nothing, and is dropped before the wait.
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("/readyz");
        let mut future = Box::pin(service.call(request));
        assert!(future.as_mut().poll(&mut cx).is_pending());
        waiting.push(future);
    }
    // Without its request, which would exist without the layer.
    let each = (HELD.get() - before) / CALLERS - size_of::<Request<()>>();
    assert!((1..=400).contains(&each), "{each} bytes");
}
