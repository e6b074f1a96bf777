//! What the engine must know of a kind of server.

use std::future::Future;

use bb8::{ManageConnection, PooledConnection};
use tokio::time::Instant;

use crate::{
    check::{CheckResult, Outcome},
    report::Failure,
};

/// A connection on loan from the pool. Dropped, it goes back.
pub(in crate::checks) type Loan<M> = PooledConnection<'static, M>;

/// One kind of server: how to ask it, and what its errors mean.
pub(in crate::checks) trait Backend<M: ManageConnection>:
    Send + Sync + 'static
{
    /// Whether the pool drops a dead connection that comes back. `bb8-redis` keeps it.
    const EVICTS_DEAD: bool = true;

    /// One round trip to the server itself, past any proxy.
    fn ping(
        &self,
        connection: &mut M::Connection,
    ) -> impl Future<Output = Result<(), Judgement>> + Send;

    /// Why no connection can be made.
    fn refusal(&self, error: M::Error) -> Failure;

    /// Whether there is something to prove beyond an answer.
    fn proves_more(&self) -> bool {
        false
    }

    /// The proof that was asked for, on a connection that works. It ends by `deadline`.
    fn prove(
        &self,
        _loan: Loan<M>,
        _deadline: Instant,
    ) -> impl Future<Output = CheckResult> + Send {
        async { Ok(Outcome::up()) }
    }
}

/// What an error on an existing connection says.
#[derive(Debug)]
// Which of them exist depends on the kinds of servers that are built in.
#[cfg_attr(not(all(feature = "postgres", feature = "redis")), allow(dead_code))]
pub(in crate::checks) enum Judgement {
    /// The server answered, and it cannot serve.
    Down(Failure),
    /// The connection is dead, which says nothing of the server: idle ones get closed.
    Gone(Failure),
    /// The server answered; it is only the ping that it refuses.
    Alive(Outcome),
}
