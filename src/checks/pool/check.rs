//! The checks on pools that this crate does not know.

use std::{future::Future, pin::Pin, sync::Arc};

use bb8::{ManageConnection, Pool};

use super::{
    bb8::Server,
    connection_pool::{CheckoutTest, ConnectionPool, PingError},
    core::{Bb8Core, PoolCore, pool_check},
};
use crate::{
    checks::driver_error::unknown_error,
    report::{Failure, Reason},
};

/// A check on any `bb8` pool, with a custom ping.
///
/// For Postgres and Redis use [`postgres`](crate::checks::postgres) and [`redis`](crate::checks::redis), which
/// derive the reason from the driver's errors. The rules are those of [the module](crate::checks). Clones share their
/// connections. Cancel-safe.
pub struct PoolCheck<M: ManageConnection> {
    core: Bb8Core<M, ForeignServer<M>>,
}

/// Checks that `pool` delivers connections on which `ping` succeeds.
///
/// `ping` makes one round trip to the server. The check calls it on a pooled connection and on the
/// dedicated one. It may hang, and is then awaited: its future is never dropped while it runs.
///
/// ```no_run
/// # use tower_health::{Health, checks};
/// # fn app<M>(pool: bb8::Pool<M>) -> Health
/// # where M: bb8::ManageConnection<Connection = Broker, Error = std::io::Error> {
/// Health::builder()
///     .check("broker", checks::pool(pool, |broker| Box::pin(broker.ping())))
///     .build()
/// # }
/// # struct Broker;
/// # impl Broker { async fn ping(&mut self) -> std::io::Result<()> { Ok(()) } }
/// ```
pub fn pool<M, F>(pool: Pool<M>, ping: F) -> PoolCheck<M>
where
    M: ManageConnection,
    F: for<'a> Fn(&'a mut M::Connection) -> PingFuture<'a, M::Error> + Send + Sync + 'static,
{
    PoolCheck {
        core: Bb8Core::of_bb8(
            pool,
            ForeignServer {
                ping: Arc::new(ping),
                classify: None,
                test: None,
            },
        ),
    }
}

impl<M: ManageConnection> PoolCheck<M> {
    /// Sets the reason for each error of the manager. Default: `io` errors by their kind, all others `failed`.
    #[must_use]
    pub fn classify_errors(
        mut self,
        classify: impl Fn(&M::Error) -> Reason + Send + Sync + 'static,
    ) -> Self {
        self.core.server_mut().classify = Some(Arc::new(classify));
        self
    }

    /// States what a checkout proves, if the pool has `test_on_check_out`. Default: [`CheckoutTest::Unknown`].
    ///
    /// `bb8` then calls the manager's `is_valid` on each connection, also on one that it has just opened. If
    /// `is_valid` makes a round trip to the server, state [`CheckoutTest::ServerAnswered`]: a check that
    /// has just started sees at once that a busy pool serves the app. The ping is then left out on pooled
    /// connections; with [`CheckoutTest::Counted`] it is sent.
    ///
    /// Without `test_on_check_out` a checkout proves nothing, whatever is stated here.
    ///
    /// ```no_run
    /// # use tower_health::checks::{self, CheckoutTest, PoolCheck};
    /// # fn check<M>(pool: bb8::Pool<M>) -> PoolCheck<M>
    /// # where M: bb8::ManageConnection<Connection = Broker, Error = std::io::Error> {
    /// // `is_valid` of this manager pings the broker.
    /// checks::pool(pool, |broker| Box::pin(broker.ping()))
    ///     .checkout_test(CheckoutTest::ServerAnswered)
    /// # }
    /// # struct Broker;
    /// # impl Broker { async fn ping(&mut self) -> std::io::Result<()> { Ok(()) } }
    /// ```
    #[must_use]
    pub fn checkout_test(mut self, test: CheckoutTest) -> Self {
        self.core.server_mut().test = Some(test);
        self
    }
}

/// What the closure of [`pool`] returns.
pub type PingFuture<'a, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'a>>;

type Ping<C, E> = dyn for<'a> Fn(&'a mut C) -> PingFuture<'a, E> + Send + Sync;

type Classify<E> = dyn Fn(&E) -> Reason + Send + Sync;

struct ForeignServer<M: ManageConnection> {
    ping: Arc<Ping<M::Connection, M::Error>>,
    classify: Option<Arc<Classify<M::Error>>>,
    test: Option<CheckoutTest>,
}

impl<M: ManageConnection> Server<M> for ForeignServer<M> {
    async fn ping(&self, connection: &mut M::Connection) -> Result<(), PingError> {
        let pinged = (self.ping)(connection).await;
        pinged.map_err(|error| PingError::Broken(self.connect_failure(error)))
    }

    fn checkout_test(&self) -> Option<CheckoutTest> {
        self.test
    }

    fn connect_failure(&self, error: M::Error) -> Failure {
        let reason = self.classify.as_ref().map(|classify| classify(&error));
        let failure = unknown_error(error);
        match reason {
            Some(reason) => failure.with_reason(reason),
            None => failure,
        }
    }
}

impl<M: ManageConnection> Clone for ForeignServer<M> {
    fn clone(&self) -> Self {
        Self {
            ping: self.ping.clone(),
            classify: self.classify.clone(),
            test: self.test,
        }
    }
}

pool_check!(PoolCheck, "pool", ManageConnection);

/// A check on any connection pool, by the app's implementation of [`ConnectionPool`].
///
/// The rules are those of [the module](crate::checks). Clones share their connections. Cancel-safe.
pub struct ConnectionPoolCheck<P: ConnectionPool> {
    core: PoolCore<P>,
}

/// Checks that `pool` delivers connections on which its ping succeeds.
///
/// For a `bb8` pool use [`pool`](crate::checks::pool), `checks::postgres` or `checks::redis`. The example is at [`ConnectionPool`];
/// adapters for `sqlx`, `deadpool` and others are in `examples/pools`.
pub fn connection_pool<P: ConnectionPool>(pool: P) -> ConnectionPoolCheck<P> {
    ConnectionPoolCheck {
        core: PoolCore::new(pool),
    }
}

pool_check!(ConnectionPoolCheck, "pool", ConnectionPool);
