//! The task of the dedicated connection.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    super::connection_pool::{ConnectionPool, PingError},
    lane::{End, Lane, Step, lock},
    slots::{DEDICATED, LOGIN_LIMIT, Lanes},
};
use crate::report::{Failure, Reason};

/// The longest limit on a login.
const MAX_LOGIN: Duration = Duration::from_secs(12);

impl<P: ConnectionPool> Lanes<P> {
    /// Begins to use the dedicated connection, or joins the task that does.
    pub(crate) fn begin_dedicated(self: &Arc<Self>, until: Instant) -> Option<Arc<Lane<P>>> {
        self.begin(DEDICATED, &[], |lanes, lane, spare| async move {
            lanes.examine_dedicated(&lane, spare, until).await
        })
    }

    /// Removes the spare connection.
    pub(crate) fn take_spare(&self) -> Option<P::Connection> {
        lock(&self.state).spare.take()
    }

    /// Adds the spare connection to the pool if that has room; keeps it otherwise.
    pub(crate) fn give_spare(&self) {
        let mut state = lock(&self.state);
        state.spare = state
            .spare
            .take()
            .and_then(|spare| self.pool.add(spare).err());
    }

    /// Examines the spare connection, or a new one. Returns the connection if it answered.
    async fn examine_dedicated(
        &self,
        lane: &Lane<P>,
        mut spare: Option<P::Connection>,
        until: Instant,
    ) -> (End<P>, Option<P::Connection>) {
        loop {
            let was_spare = spare.is_some();
            let mut connection = match spare.take() {
                Some(spare) => spare,
                None => match self.connect().await {
                    Ok(connection) => connection,
                    Err(failure) => return (End::Refused(failure), None),
                },
            };
            let examined = lane.examine(&self.pool, &mut connection, false, false, until);
            match examined.await {
                Ok(answered) => return (End::Answered(answered), Some(connection)),
                // The spare was closed meanwhile, which says nothing about the server.
                Err(PingError::Broken(_)) if was_spare && lane.is_holding() => {
                    lane.set_step(Step::Waiting);
                }
                Err(error) => return (End::CannotServe(error.into()), None),
            }
        }
    }

    /// Opens a connection outside the pool, or closes it if that takes too long.
    async fn connect(&self) -> Result<P::Connection, Failure> {
        let limit = lock(&self.state).login_limit;
        let connected = timeout(limit, self.pool.connect()).await;
        lock(&self.state).login_limit = match connected {
            Ok(_) => LOGIN_LIMIT,
            Err(_) => MAX_LOGIN.min(limit * 2),
        };
        connected.unwrap_or_else(|_| {
            Err(Failure::new(Reason::Timeout)
                .message("no new connection in time: it hangs while connecting or logging in"))
        })
    }
}
