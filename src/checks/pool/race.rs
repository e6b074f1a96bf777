//! Two futures side by side, and one against the clock.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use tokio::time::{Instant, timeout_at};

pub(super) enum Winner<A, B> {
    First(A),
    Second(B),
}

/// Whichever ends first; of two that are ready the first. The loser can be polled on.
pub(super) async fn race<A: Future, B: Future>(
    mut first: Pin<&mut A>,
    mut second: Pin<&mut B>,
) -> Winner<A::Output, B::Output> {
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Winner::First(output));
        }
        second.as_mut().poll(context).map(Winner::Second)
    })
    .await
}

/// What `future` gives until then. A pinned one can be polled on afterwards.
pub(super) async fn until<F: Future>(instant: Instant, future: F) -> Option<F::Output> {
    timeout_at(instant, future).await.ok()
}
