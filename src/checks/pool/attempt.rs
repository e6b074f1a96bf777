//! What the pool itself delivers.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bb8::{ManageConnection, Pool};

use super::{
    backend::{Backend, Judgement, Loan},
    evidence::Sample,
};
use crate::{check::Outcome, report::Failure};

/// How one attempt ended that was not cut short.
pub(super) enum Attempt {
    /// The loan works: the server has just answered on it.
    Works,
    /// The server answered on the loan, and cannot serve.
    Down(Failure),
    /// The server answered on the loan, and refused no more than the ping.
    Alive(Outcome),
    /// The loan is dead, and the pool would keep it.
    Gone(Failure),
    /// The pool makes connection after connection, and refuses each.
    Storm,
}

/// Borrows a connection and makes sure that the server answered on it: one round trip.
///
/// `loan` holds the connection even when the attempt is cut short, so that one
/// found silent can be replaced.
pub(super) async fn attempt<M: ManageConnection, B: Backend<M>>(
    pool: &Pool<M>,
    backend: &B,
    before: &Sample,
    loan: &mut Option<Loan<M>>,
) -> Attempt {
    let tested = pool.config().test_on_check_out;
    for stale in 0.. {
        let Some(connection) = borrow(pool, before).await else {
            return Attempt::Storm;
        };
        let connection = loan.insert(connection);
        if tested {
            return Attempt::Works;
        }
        let failure = match backend.ping(connection).await {
            Ok(()) => return Attempt::Works,
            Err(Judgement::Down(failure)) => return Attempt::Down(failure),
            Err(Judgement::Alive(outcome)) => return Attempt::Alive(outcome),
            Err(Judgement::Gone(failure)) => failure,
        };
        // Each connection of before may be dead; that a fresh one is, too, is news.
        if !B::EVICTS_DEAD || stale >= before.connections {
            return Attempt::Gone(failure);
        }
        // Back to the pool, which sees that it is broken and drops it.
        *loan = None;
    }
    Attempt::Storm
}

/// A connection, or `None` once the pool has begun to storm.
async fn borrow<M: ManageConnection>(pool: &Pool<M>, before: &Sample) -> Option<Loan<M>> {
    let mut get = pin!(pool.get_owned());
    poll_fn(|context| match get.as_mut().poll(context) {
        Poll::Ready(Ok(loan)) => Poll::Ready(Some(loan)),
        // The pool's own timeout is up: it has no more to say than one that waits.
        Poll::Ready(Err(_)) => Poll::Ready(None),
        // Looked at on every wake-up and not by a timer: at 4 000 connections a
        // second, 10 ms are 40 connections.
        Poll::Pending if Sample::of(pool).storms_since(before) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
