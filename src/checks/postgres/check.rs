use std::{fmt, future::Future};

use bb8::{ManageConnection, Pool};
use tokio_postgres::Client;

use super::classify;
use crate::{
    check::{Check, CheckResult},
    checks::pool::{Backend, Engine, Judgement, pool_options},
    report::Failure,
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
        question: Question,
    }
}

impl<M: ManageConnection<Connection = Client>> Postgres<M> {
    pool_options!();
}

impl<M: ManageConnection<Connection = Client>> Check for Postgres<M> {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self.engine.look(&self.question)
    }

    fn kind(&self) -> Option<&'static str> {
        Some("postgres")
    }
}

struct Question;

impl<M: ManageConnection<Connection = Client>> Backend<M> for Question {
    async fn ping(&self, connection: &mut Client) -> Result<(), Judgement> {
        connection.check_connection().await.map_err(classify::judge)
    }

    fn refusal(&self, error: M::Error) -> Failure {
        classify::refusal(error)
    }
}

impl<M: ManageConnection> fmt::Debug for Postgres<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("settings", &self.engine.settings)
            .finish_non_exhaustive()
    }
}
