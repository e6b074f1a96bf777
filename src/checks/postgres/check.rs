use std::{borrow::Cow, fmt, future::Future, time::Duration};

use bb8::{ManageConnection, Pool};
use tokio::time::Instant;
use tokio_postgres::{
    Client, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};

use super::question::{Question, Role, cancel_with};
use crate::{
    check::{Check, CheckResult},
    checks::pool::{Engine, pool_options},
    dependency::DEFAULT_TIMEOUT,
};

/// Whether a Postgres serves the app through its own pool.
///
/// Up costs one round trip: the pool's test at checkout, or an empty exchange
/// (`Sync`) that parses, plans and logs nothing where the pool does not test. It
/// works in a transaction that the app left aborted, and reaches the server behind PgBouncer.
///
/// The steps are those of [the module](crate::checks). Cancel-safe: a run that is
/// dropped leaves neither a connection nor a query behind.
pub struct Postgres<M: ManageConnection> {
    engine: Engine<M>,
    question: Question,
}

/// A check on `pool`, with whatever TLS connector its manager has.
///
/// Any manager of `tokio_postgres` clients will do, as `PostgresConnectionManager<Tls>` is,
/// plain or in a [`GuardedManager`](crate::checks::GuardedManager).
///
/// ```no_run
/// use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
/// use tower_health::{Health, checks};
///
/// # fn app(pool: bb8::Pool<PostgresConnectionManager<NoTls>>) -> Health {
/// Health::builder().check("database", checks::postgres(pool.clone())).build()
/// # }
/// ```
pub fn postgres<M>(pool: Pool<M>) -> Postgres<M>
where
    M: ManageConnection<Connection = Client>,
{
    Postgres {
        engine: Engine::new(pool),
        question: Question::default(),
    }
}

impl<M: ManageConnection<Connection = Client>> Postgres<M> {
    pool_options!();

    /// Down (`read_only`) unless the server takes writes. Default: any server will do.
    ///
    /// Asks for `pg_is_in_recovery()` and `transaction_read_only`, which is one more round trip.
    #[must_use]
    pub fn read_write(mut self) -> Self {
        self.question.role = Some(Role::Primary);
        self
    }

    /// Down (`mismatch`) unless the server is a replica. Default: any server will do.
    ///
    /// Asks for `pg_is_in_recovery()`, which is one more round trip.
    #[must_use]
    pub fn replica(mut self) -> Self {
        self.question.role = Some(Role::Replica);
        self
    }

    /// Degraded (`behind`) while a replica is further behind its primary than that. Default: not asked.
    ///
    /// What it has received and not replayed counts, by the age of the last transaction
    /// replayed. A replica that receives nothing at all, since its link is cut, counts as level.
    #[must_use]
    pub fn max_replication_lag(mut self, lag: Duration) -> Self {
        self.question.max_lag = Some(lag);
        self
    }

    /// Down unless this query succeeds. Default: none.
    ///
    /// It is sent as it is (simple protocol, one more round trip), on a connection of
    /// the pool's. Past the check's budget it is cancelled on the server, and
    /// its connection returns to the pool once it is over, also if the run is dropped:
    /// the app never waits for the rest of it. In a transaction that the app has left
    /// aborted on its connection, `ROLLBACK` goes before it.
    #[must_use]
    pub fn query(mut self, sql: impl Into<Cow<'static, str>>) -> Self {
        self.question.query = Some(sql.into());
        self
    }

    /// Cancels a [`query`](Self::query) that takes too long by way of this connector. Default: without TLS.
    ///
    /// Needed where the connection string has `sslmode=require`: the request to cancel is a
    /// connection of its own, and the pool does not tell its connector.
    #[must_use]
    pub fn cancel_with<Tls>(mut self, tls: Tls) -> Self
    where
        Tls: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send> + Clone + Send + Sync + 'static,
        <Tls::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.question.cancel = cancel_with(tls);
        self
    }

    /// Down (`mismatch`) unless the first column of the first row that
    /// [`query`](Self::query) answers has this text. Default: any answer will do.
    #[must_use]
    pub fn expect(mut self, value: impl Into<Cow<'static, str>>) -> Self {
        self.question.expected = Some(value.into());
        self
    }
}

impl<M: ManageConnection<Connection = Client>> Check for Postgres<M> {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self.check_until(Instant::now() + DEFAULT_TIMEOUT)
    }

    fn check_until(&self, deadline: Instant) -> impl Future<Output = CheckResult> + Send {
        self.engine.look(&self.question, deadline)
    }

    fn kind(&self) -> Option<&'static str> {
        Some("postgres")
    }
}

impl<M: ManageConnection> fmt::Debug for Postgres<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("settings", &self.engine.settings)
            .finish_non_exhaustive()
    }
}
