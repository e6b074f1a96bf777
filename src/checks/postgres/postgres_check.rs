//! [`PostgresCheck`], its options, and the queries that prove them.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::{ManageConnection, Pool};
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
        pool::{Bb8Core, PingError, Server, pool_check},
    },
    report::{Failure, Reason},
};

/// The shortest `statement_timeout`: less would end a query before it can answer.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// A check on a `bb8` pool of Postgres connections.
///
/// Up costs one round trip: the pool's test at checkout, or an empty exchange (`Sync`) if the pool does not
/// test. The exchange parses, plans and logs nothing. It works in a transaction that the
/// app left aborted, and reaches the server behind PgBouncer.
///
/// The rules are those of [the module](crate::checks). Clones share their connections.
/// Cancel-safe: a run that is dropped leaves its query to end on the server by its own time limit.
pub struct PostgresCheck<M: ManageConnection<Connection = Client>> {
    core: Bb8Core<M, PostgresRequirements>,
}

/// Checks that `pool` delivers connections on which the server answers.
///
/// Accepts any manager of `tokio_postgres` clients: `PostgresConnectionManager<Tls>`, plain or in a [`ConnectTimeoutManager`](crate::checks::ConnectTimeoutManager).
///
/// ```no_run
/// use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
/// use tower_health::{Health, checks};
///
/// # fn app(pool: bb8::Pool<PostgresConnectionManager<NoTls>>) -> Health {
/// Health::builder().check("database", checks::postgres(pool.clone())).build()
/// # }
/// ```
pub fn postgres<M>(pool: Pool<M>) -> PostgresCheck<M>
where
    M: ManageConnection<Connection = Client>,
{
    PostgresCheck {
        core: Bb8Core::of_bb8(pool, PostgresRequirements::default()),
    }
}

impl<M: ManageConnection<Connection = Client>> PostgresCheck<M> {
    /// Requires a server that takes writes, else down (`read_only`). Default: any server.
    ///
    /// Reads `pg_is_in_recovery()` and `default_transaction_read_only`, which takes one more round trip. The
    /// state of a transaction that the app left open does not count.
    #[must_use]
    pub fn read_write(mut self) -> Self {
        self.core.server_mut().role = Some(Role::Primary);
        self
    }

    /// Requires a replica, else down (`mismatch`). Default: any server.
    ///
    /// Reads `pg_is_in_recovery()`, which takes one more round trip.
    #[must_use]
    pub fn replica(mut self) -> Self {
        self.core.server_mut().role = Some(Role::Replica);
        self
    }

    /// Sets the replication lag above which a replica is degraded (`behind`). Default: not measured.
    ///
    /// The check records when it first saw each received position of the log. The lag is the age of
    /// the oldest position that is not replayed yet. A replica whose link to the primary is cut receives nothing,
    /// and has no lag by this measure.
    #[must_use]
    pub fn max_replication_lag(mut self, lag: Duration) -> Self {
        self.core.server_mut().max_lag = Some(lag);
        self
    }

    /// Requires that this query succeeds, else down. Default: no query.
    ///
    /// The text is sent unchanged, in the simple protocol, which takes one more round trip. Statements before and
    /// after it set `statement_timeout` to the rest of the run and back. The server itself ends the query
    /// (PostgreSQL 13 and later), so the check cancels nothing. The connection returns to the pool when
    /// the answer has arrived. On a connection that the app left inside a failed transaction, the result is
    /// degraded (`rejected`).
    #[must_use]
    pub fn query(mut self, sql: impl Into<Cow<'static, str>>) -> Self {
        self.core.server_mut().query = Some(sql.into());
        self
    }

    /// Requires `value` in the first column of the query's first row, else down (`mismatch`).
    /// Default: any answer.
    ///
    /// # Panics
    ///
    /// If [`query`](Self::query) was not called before.
    #[must_use]
    #[track_caller]
    pub fn expect_value(mut self, value: impl Into<Cow<'static, str>>) -> Self {
        let server = self.core.server_mut();
        assert!(server.query.is_some(), "expect_value: no query is set");
        server.expected = Some(value.into());
        self
    }
}

pool_check!(
    PostgresCheck,
    "postgres",
    ManageConnection<Connection = Client>
);

#[derive(Clone, Default)]
struct PostgresRequirements {
    role: Option<Role>,
    max_lag: Option<Duration>,
    query: Option<Cow<'static, str>>,
    expected: Option<Cow<'static, str>>,
    /// What earlier runs read of the replica's log.
    marks: Arc<Mutex<ReplayMarks>>,
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
