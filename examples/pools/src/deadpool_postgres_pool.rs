//! `deadpool_postgres::Pool`.

use deadpool::managed::Manager;
use deadpool_postgres::{ClientWrapper, Object, Pool, PoolError};
use tokio_postgres::Error;
use tower_health::{
    Failure, Reason,
    checks::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
};

/// The app's pool. Its hooks do not run on the dedicated connection.
#[derive(Clone, Debug)]
pub struct DeadpoolPostgres(pub Pool);

impl ConnectionPool for DeadpoolPostgres {
    type Connection = ClientWrapper;
    type Checkout = Object;

    async fn check_out(&self) -> Result<Object, Option<Failure>> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => None,
            PoolError::Backend(error) => Some(failure(error)),
            other => Some(Failure::new(Reason::Failed).caused_by(other)),
        })
    }

    async fn connect(&self) -> Result<ClientWrapper, Failure> {
        self.0.manager().create().await.map_err(failure)
    }

    async fn ping(&self, client: &mut ClientWrapper) -> Result<(), PingError> {
        Ok(client.check_connection().await?)
    }

    fn counters(&self) -> PoolCounters {
        let status = self.0.status();
        let [max, open, idle] = [status.max_size, status.size, status.available]
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        PoolCounters::new(max, open, idle)
    }

    fn checkout_test(&self) -> CheckoutTest {
        // `RecyclingMethod::Fast` does not reach the server, and no method runs on a new connection.
        CheckoutTest::Unknown
    }
}

fn failure(error: Error) -> Failure {
    PingError::from(error).into()
}
