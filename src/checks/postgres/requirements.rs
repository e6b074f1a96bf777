//! The options of [`PostgresCheck`](super::PostgresCheck), and the queries that prove them.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::ManageConnection;
use tokio::time::Instant;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, error::SqlState};

use super::{
    replication::{self, ReplayMarks, Role},
    sqlstate,
};
use crate::{
    check::{CheckResult, Outcome},
    checks::pool::{PingError, Server},
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
        sqlstate::connect_failure(error)
    }

    fn has_proof(&self) -> bool {
        self.role.is_some() || self.max_lag.is_some() || self.query.is_some()
    }

    async fn prove(&self, connection: &mut Client, until: Instant) -> Result<CheckResult, Failure> {
        Ok(match self.evaluate(connection, until).await {
            Err(ProofError::Broken(failure)) => return Err(failure),
            // The app returned the connection inside a failed transaction, in which every statement fails.
            // Only the app may end it.
            Err(ProofError::InFailedTransaction) => Ok(Outcome::degraded(Reason::Rejected).message(
                "a pooled connection is inside a failed transaction (25P02): the app returned it without ROLLBACK",
            )),
            Err(ProofError::Failure(failure)) => Err(failure),
            Ok(outcome) => Ok(outcome),
        })
    }
}

/// Why a proof has no outcome.
enum ProofError {
    InFailedTransaction,
    /// The connection broke.
    Broken(Failure),
    Failure(Failure),
}

impl From<Failure> for ProofError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl PostgresRequirements {
    async fn evaluate(&self, client: &Client, until: Instant) -> Result<Outcome, ProofError> {
        let mut outcome = Outcome::up();
        if let Some(sql) = replication::sql(self.role, self.max_lag) {
            let row = first_row(client, &sql, until).await?;
            let lag = self.max_lag.map(|max| {
                let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
                (max, marks.lag(&row, Instant::now()))
            });
            outcome = replication::judge(&row, self.role, lag)?;
        }
        let Some(sql) = &self.query else {
            return Ok(outcome);
        };
        let row = first_row(client, sql, until).await?;
        match &self.expected {
            Some(expected) if row.first().map(Option::as_deref) != Some(Some(&**expected)) => {
                let failure = Failure::new(Reason::Mismatch);
                Err(failure.message("the query does not return the expected value"))?
            }
            _ => Ok(outcome),
        }
    }
}

/// Returns the first row of `sql`. The server ends the query at `until`.
async fn first_row(client: &Client, sql: &str, until: Instant) -> Result<TextRow, ProofError> {
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
    let messages = client.simple_query(&message).await.map_err(|error| {
        if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) {
            ProofError::InFailedTransaction
        } else if sqlstate::is_of_connection(&error) {
            ProofError::Broken(sqlstate::failure(error))
        } else {
            ProofError::Failure(sqlstate::failure(error))
        }
    })?;
    // The first row of each result. Two results precede those of `sql`, and one follows.
    let mut results: Vec<Option<&SimpleQueryRow>> = vec![None];
    for message in &messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                if let Some(first) = results.last_mut() {
                    first.get_or_insert(row);
                }
            }
            SimpleQueryMessage::CommandComplete(_) => results.push(None),
            _ => {}
        }
    }
    // The last entry belongs to no result.
    let own = results
        .get(2..results.len().saturating_sub(2))
        .unwrap_or_default();
    let row = own.iter().flatten().next();
    Ok(row.map_or_else(Vec::new, |row| {
        (0..row.len())
            .map(|column| row.try_get(column).ok().flatten().map(str::to_owned))
            .collect()
    }))
}
