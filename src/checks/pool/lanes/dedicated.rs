//! The task of the dedicated connection.

use tokio::time::Instant;

use super::{
    super::connection_pool::{ConnectionPool, PingError},
    checkout::Answered,
    lane::Lane,
    shared::{SharedState, ping},
};
use crate::report::{Failure, Reason};

pub(crate) type DedicatedLane = Lane<DedicatedStep>;

pub(crate) enum DedicatedStep {
    Connecting,
    /// The ping is sent.
    Waiting,
    /// The connection answers, and the proof began at this instant.
    Proving(Instant),
    Ended(DedicatedEnd),
}

pub(crate) enum DedicatedEnd {
    /// No connection can be opened.
    Refused(Failure),
    /// A connection was opened, and the server cannot serve.
    Failed(Failure),
    Answered(Answered),
}

impl DedicatedLane {
    /// Pings on the spare connection, or on a new one. Returns the connection if it answered.
    pub(super) async fn examine<P: ConnectionPool>(
        &self,
        pool: &P,
        shared: &SharedState,
        mut spare: Option<P::Connection>,
        until: Instant,
    ) -> (DedicatedEnd, Option<P::Connection>) {
        loop {
            let was_spare = spare.is_some();
            let mut connection = match spare.take() {
                Some(spare) => spare,
                None => match shared.connect(pool).await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(failure)) => return (DedicatedEnd::Refused(failure), None),
                    Err(_) => {
                        let failure = Failure::new(Reason::Timeout).message(
                            "no new connection in time: it hangs while connecting or logging in",
                        );
                        return (DedicatedEnd::Refused(failure), None);
                    }
                },
            };
            self.set_step(shared, DedicatedStep::Waiting);
            let forbidden = match ping(pool, &mut connection).await {
                Ok(()) => false,
                Err(PingError::Forbidden) => true,
                // The spare was closed meanwhile, which says nothing about the server.
                Err(PingError::Broken(_)) if was_spare => {
                    self.set_step(shared, DedicatedStep::Connecting);
                    continue;
                }
                Err(PingError::Broken(failure) | PingError::CannotServe(failure)) => {
                    return (DedicatedEnd::Failed(failure), None);
                }
                Err(PingError::NoReply) => continue,
            };
            let started = Instant::now();
            let proof = if pool.has_proof() {
                self.set_step(shared, DedicatedStep::Proving(started));
                match pool.prove(&mut connection, until).await {
                    Ok(result) => Some(result),
                    Err(failure) => return (DedicatedEnd::Failed(failure), None),
                }
            } else {
                None
            };
            let answered = Answered {
                forbidden,
                broken: false,
                proof,
                had: until.saturating_duration_since(started),
            };
            return (DedicatedEnd::Answered(answered), Some(connection));
        }
    }
}
