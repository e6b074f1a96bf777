//! `sqlx::PgPool`.

use sqlx::{Connection, Error, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tower_health::{
    Failure, Reason,
    checks::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
};

use crate::tested_checkouts::TestedCheckouts;

/// The app's pool. `tested` is `None` without a hook that counts, and with `test_before_acquire(false)`.
#[derive(Clone, Debug)]
pub struct SqlxPool {
    pub pool: PgPool,
    pub tested: Option<TestedCheckouts>,
}

impl ConnectionPool for SqlxPool {
    type Connection = PgConnection;
    type Checkout = PoolConnection<Postgres>;

    async fn check_out(&self) -> Result<Self::Checkout, Option<Failure>> {
        // Without the pool's test: the check pings, and sqlx hides why its own test failed.
        if let Some(idle) = self.pool.try_acquire() {
            return Ok(idle);
        }
        self.pool.acquire().await.map_err(|error| match error {
            Error::PoolTimedOut => None,
            error => Some(ping_error(error).into()),
        })
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        let connected = PgConnection::connect_with(&self.pool.connect_options()).await;
        Ok(connected.map_err(ping_error)?)
    }

    async fn ping(&self, connection: &mut PgConnection) -> Result<(), PingError> {
        connection.ping().await.map_err(ping_error)
    }

    fn counters(&self) -> PoolCounters {
        let max = self.pool.options().get_max_connections();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        TestedCheckouts::counters(self.tested.as_ref(), max, self.pool.size(), idle)
    }

    fn checkout_test(&self) -> CheckoutTest {
        CheckoutTest::Counted // `acquire` tests idle connections only.
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
