//! The public check and its options.

use std::{borrow::Cow, time::Duration};

use bb8::{ManageConnection, Pool};
use tokio_postgres::Client;

use super::{replication::Role, requirements::PostgresRequirements};
use crate::checks::pool::{Bb8Core, pool_check};

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
