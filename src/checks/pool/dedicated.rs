//! The one connection beside the pool that tells the true cause.

use bb8::{ManageConnection, Pool};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::backend::{Backend, Judgement};
use crate::{
    check::Outcome,
    report::{Failure, Reason},
};

/// Why there is no connection that works.
pub(super) enum Refusal {
    /// No connection could be made. Those that the pool holds may still work.
    Connect(Failure),
    /// The server took the connection and then said, or showed, that it cannot serve.
    Server(Failure),
    /// The server answered, and refused no more than the ping.
    Alive(Outcome),
}

/// Makes connections outside of the pool, one at a time.
#[derive(Debug)]
pub(super) struct Dedicated {
    single: Semaphore,
}

impl Dedicated {
    pub(super) const fn new() -> Self {
        Self {
            single: Semaphore::const_new(1),
        }
    }

    /// A connection on which the server has just answered.
    ///
    /// Behind a proxy a login proves nothing, hence the ping. Dropping the future
    /// closes the socket.
    pub(super) async fn connect<M: ManageConnection>(
        &self,
        pool: &Pool<M>,
        backend: &impl Backend<M>,
        deadline: Instant,
    ) -> Result<M::Connection, Refusal> {
        let Ok(Ok(_permit)) = timeout_at(deadline, self.single.acquire()).await else {
            return Err(Refusal::Connect(no_answer()));
        };
        let mut connection = match timeout_at(deadline, pool.dedicated_connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(Refusal::Connect(backend.refusal(error))),
            Err(_) => return Err(Refusal::Connect(no_answer())),
        };
        match timeout_at(deadline, backend.ping(&mut connection)).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(Judgement::Down(failure) | Judgement::Gone(failure))) => {
                Err(Refusal::Server(failure))
            }
            Ok(Err(Judgement::Alive(outcome))) => Err(Refusal::Alive(outcome)),
            Err(_) => Err(Refusal::Server(no_answer())),
        }
    }
}

fn no_answer() -> Failure {
    Failure::new(Reason::Timeout).message("the server does not answer")
}
