//! What each caller costs in memory who waits for a run, counted by the allocator.

use std::{
    convert::Infallible,
    future::{Future, Ready, pending},
    iter,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_health::{Health, HealthLayer, Outcome, Probe};

use super::counting::HELD;

const CALLERS: usize = 10_000;
/// The most that the contract grants to a waiter.
const MOST: usize = 400;

/// A handle whose one run does not end.
fn health_that_hangs() -> Health {
    Health::builder()
        .check("database", async || {
            pending::<()>().await;
            Ok(Outcome::up())
        })
        .build()
}

/// An app that nobody reaches. Its future is smaller than the layer's own, so that what is counted is the layer's.
struct Nowhere;

impl Service<Request<()>> for Nowhere {
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

/// What each caller keeps once all of them wait: its future with the timer in it, and its place in the queue.
///
/// Not the request: what that brought along would be there without the layer, too.
fn kept_by_each<A, F: Future + Unpin>(
    asked: impl IntoIterator<Item = A>,
    mut ask: impl FnMut(A) -> F,
) -> usize {
    let asked: Vec<A> = asked.into_iter().collect();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Vec::with_capacity(CALLERS);
    let before = HELD.get();
    for asked in asked {
        let mut asking = ask(asked);
        assert!(pin!(&mut asking).poll(&mut cx).is_pending());
        waiting.push(asking);
    }
    (HELD.get() - before) / CALLERS
}

#[tokio::test]
async fn a_caller_of_the_handle_costs_400_bytes_at_most() {
    let asking = iter::repeat_n(health_that_hangs(), CALLERS);
    let kept = kept_by_each(asking, |health| {
        Box::pin(async move { health.report_for(&Probe::Readiness).await })
    });
    println!("{kept} bytes for each of {CALLERS} that wait for a report");
    assert!((1..=MOST).contains(&kept), "{kept} bytes");
}

#[tokio::test]
async fn a_prober_of_the_layer_costs_400_bytes_at_most() {
    let mut service = HealthLayer::new(health_that_hangs()).layer(Nowhere);
    // Without memory of its own: a request is dropped before the wait.
    let requests = (0..CALLERS).map(|_| {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("/readyz");
        request
    });
    let kept = kept_by_each(requests, |request| Box::pin(service.call(request)));
    println!("{kept} bytes for each of {CALLERS} that wait for a response");
    assert!((1..=MOST).contains(&kept), "{kept} bytes");
}
