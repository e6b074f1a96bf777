//! `sqlx::PgPool`.

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres, error::Error, pool::PoolConnection,
};
use tower_health::{
    Failure, Reason,
    checks::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
};

/// The app's pool. Its `after_connect` does not run on the dedicated connection.
#[derive(Clone, Debug)]
pub struct SqlxPool(pub PgPool);

impl ConnectionPool for SqlxPool {
    type Connection = PgConnection;
    type Checkout = PoolConnection<Postgres>;

    async fn check_out(&self) -> Result<Self::Checkout, Option<Failure>> {
        // Without the pool's test: the check pings, and sqlx hides why its own test failed.
        if let Some(idle) = self.0.try_acquire() {
            return Ok(idle);
        }
        self.0.acquire().await.map_err(|error| match error {
            Error::PoolTimedOut => None,
            error => Some(ping_error(error).into()),
        })
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        let connected = self.0.connect_options().connect().await;
        connected.map_err(|error| ping_error(error).into())
    }

    async fn ping(&self, connection: &mut PgConnection) -> Result<(), PingError> {
        connection.ping().await.map_err(ping_error)
    }

    fn counters(&self) -> PoolCounters {
        let max = self.0.options().get_max_connections();
        let idle = u32::try_from(self.0.num_idle()).unwrap_or(u32::MAX);
        PoolCounters::new(max, self.0.size(), idle)
    }

    fn checkout_test(&self) -> CheckoutTest {
        // `acquire` tests a connection that becomes idle meanwhile.
        CheckoutTest::Unknown
    }
}

fn ping_error(error: Error) -> PingError {
    let code = error.as_database_error().and_then(|error| error.code());
    match (code.map(String::from), &error) {
        (Some(code), _) => PingError::from_sqlstate(&code, error),
        (None, Error::Tls(_)) => PingError::Broken(Failure::new(Reason::Tls).caused_by(error)),
        (None, _) => PingError::Broken(error.into()),
    }
}
