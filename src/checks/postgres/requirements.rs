//! The options of [`PostgresCheck`](super::PostgresCheck), and the queries that prove them.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::ManageConnection;
use tokio::time::Instant;
use tokio_postgres::{Client, Error, SimpleQueryMessage, error::SqlState};

use super::{
    replication::{self, ReplayMarks, Role},
    sqlstate,
};
use crate::{
    check::{CheckResult, Outcome},
    checks::{
        driver_error::connect_failure,
        pool::{PingError, Server},
    },
    report::{Failure, Reason},
};

/// The shortest `statement_timeout`: less would end a query before it can answer.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

#[derive(Clone, Default)]
pub(super) struct PostgresRequirements {
    pub(super) role: Option<Role>,
    pub(super) max_lag: Option<Duration>,
    pub(super) query: Option<Cow<'static, str>>,
    pub(super) expected: Option<Cow<'static, str>>,
    /// What earlier runs read of the replica's log.
    pub(super) marks: Arc<Mutex<ReplayMarks>>,
}

/// The columns of a row, as text.
type TextRow = Vec<Option<String>>;

impl<M: ManageConnection<Connection = Client>> Server<M> for PostgresRequirements {
    async fn ping(&self, connection: &mut Client) -> Result<(), PingError> {
        let pinged = connection.check_connection().await;
        pinged.map_err(PingError::from)
    }

    fn connect_failure(&self, error: M::Error) -> Failure {
        connect_failure(error, sqlstate::failure)
    }

    fn has_proof(&self) -> bool {
        self.role.is_some() || self.max_lag.is_some() || self.query.is_some()
    }

    async fn prove(&self, connection: &mut Client, until: Instant) -> Result<CheckResult, Failure> {
        match self.evaluate(connection, until).await {
            Ok(result) => Ok(result),
            // The app returned the connection inside a failed transaction, in which every statement fails.
            // Only the app may end it.
            Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                Ok(Ok(Outcome::degraded(Reason::Rejected).message(
                    "a pooled connection is inside a failed transaction (25P02): the app returned it without ROLLBACK",
                )))
            }
            Err(error) if sqlstate::is_of_connection(&error) => Err(sqlstate::failure(error)),
            Err(error) => Ok(Err(sqlstate::failure(error))),
        }
    }
}

impl PostgresRequirements {
    async fn evaluate(&self, client: &Client, until: Instant) -> Result<CheckResult, Error> {
        let mut result = Ok(Outcome::up());
        if let Some(sql) = replication::sql(self.role, self.max_lag) {
            let row = first_row(client, &sql, until).await?;
            let lag = self.max_lag.and_then(|max| {
                let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
                Some((max, marks.lag(&row, Instant::now())?))
            });
            result = replication::judge(&row, self.role, lag);
        }
        if let (Ok(_), Some(sql)) = (&result, &self.query) {
            let row = first_row(client, sql, until).await?;
            let value = row.first().and_then(Option::as_deref);
            if self.expected.is_some() && self.expected.as_deref() != value {
                let failure = Failure::new(Reason::Mismatch);
                result = Err(failure.message("the query does not return the expected value"));
            }
        }
        Ok(result)
    }
}

/// Returns the first row of `sql`. The server ends the query at `until`.
async fn first_row(client: &Client, sql: &str, until: Instant) -> Result<TextRow, Error> {
    let left = until
        .saturating_duration_since(Instant::now())
        .max(MIN_TIMEOUT);
    // One message, so that through PgBouncer all of it reaches one server connection. It also resets the
    // limit, which would otherwise stay on a connection that is left in a transaction.
    let message = format!(
        "SELECT set_config('tower_health.kept', current_setting('statement_timeout'), true); \
         SELECT set_config('statement_timeout', '{}', true); {sql}\n; \
         SELECT set_config('statement_timeout', current_setting('tower_health.kept'), true)",
        left.as_millis(),
    );
    let messages = client.simple_query(&message).await?;
    // Two results precede those of `sql`, and one follows. The last part belongs to no result.
    let is_end = |message: &_| matches!(message, SimpleQueryMessage::CommandComplete(_));
    let results: Vec<_> = messages.split(is_end).collect();
    let own = results.get(2..results.len().saturating_sub(2));
    for message in own.unwrap_or_default().iter().copied().flatten() {
        if let SimpleQueryMessage::Row(row) = message {
            let column = |column| row.try_get(column).ok().flatten().map(str::to_owned);
            return Ok((0..row.len()).map(column).collect());
        }
    }
    Ok(Vec::new())
}
