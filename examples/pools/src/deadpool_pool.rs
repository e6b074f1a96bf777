//! The pools of `deadpool`. Their managers differ in the ping only.

use std::{error::Error, future::Future, ops::DerefMut};

use deadpool::managed::{Manager, Object, Pool, PoolError};
use tower_health::{
    Failure, Reason,
    checks::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
};

use crate::tested_checkouts::TestedCheckouts;

/// A manager whose connections can be pinged.
pub trait PingManager: Manager<Error: Error + Into<PingError> + Sync + 'static> + 'static {
    fn ping(connection: &mut Self::Type) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The app's pool. Its hooks do not run on the dedicated connection.
pub struct Deadpool<M: PingManager, W: From<Object<M>>> {
    pub pool: Pool<M, W>,
    /// `None`: no hook counts, or the pool's test does not ask the server.
    pub tested: Option<TestedCheckouts>,
}

impl<M: PingManager, W> ConnectionPool for Deadpool<M, W>
where
    W: DerefMut<Target = M::Type> + From<Object<M>> + Send + 'static,
{
    type Connection = M::Type;
    type Checkout = W;

    async fn check_out(&self) -> Result<W, Option<Failure>> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => None,
            PoolError::Backend(error) => Some(error.into().into()),
            other => Some(Failure::new(Reason::Failed).caused_by(other)),
        })
    }

    async fn connect(&self) -> Result<M::Type, Failure> {
        let created = self.pool.manager().create().await;
        created.map_err(|error| error.into().into())
    }

    async fn ping(&self, connection: &mut M::Type) -> Result<(), PingError> {
        M::ping(connection).await.map_err(Into::into)
    }

    fn counters(&self) -> PoolCounters {
        let status = self.pool.status();
        let [max, open, idle] = [status.max_size, status.size, status.available]
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        TestedCheckouts::counters(self.tested.as_ref(), max, open, idle)
    }

    fn checkout_test(&self) -> CheckoutTest {
        CheckoutTest::Counted // The test is of idle connections only.
    }
}
