//! [`ConnectionPool`] for `bb8`, for each kind of server.

use std::{any::type_name, future::Future};

use bb8::{AddError, ManageConnection, Pool, PooledConnection};
use tokio::time::Instant;

use super::connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters};
use crate::{
    check::{CheckResult, Outcome},
    checks::connect_timeout::ConnectTimeoutManager,
    report::Failure,
};

/// A kind of server behind a `bb8` pool: how to ping it, and what its errors mean.
pub(in crate::checks) trait Server<M: ManageConnection>:
    Send + Sync + 'static
{
    /// Whether the manager never reports a connection as broken, so that `bb8` keeps it.
    const KEEPS_BROKEN: bool = false;

    /// Makes one round trip to the server itself.
    fn ping(
        &self,
        connection: &mut M::Connection,
    ) -> impl Future<Output = Result<(), PingError>> + Send;

    /// What a checkout proves if the pool tests. `None`: the manager's type tells.
    fn checkout_test(&self) -> Option<CheckoutTest> {
        None
    }

    /// Returns why no connection can be opened.
    fn connect_failure(&self, error: M::Error) -> Failure;

    /// As [`ConnectionPool::has_proof`].
    fn has_proof(&self) -> bool {
        false
    }

    /// As [`ConnectionPool::prove`].
    fn prove(
        &self,
        _connection: &mut M::Connection,
        _until: Instant,
    ) -> impl Future<Output = Result<CheckResult, Failure>> + Send {
        async { Ok(Ok(Outcome::up())) }
    }
}

/// A `bb8` pool of connections to a kind of server.
pub(in crate::checks) struct Bb8<M: ManageConnection, S> {
    pub(in crate::checks) pool: Pool<M>,
    pub(in crate::checks) server: S,
}

impl<M: ManageConnection, S: Server<M>> ConnectionPool for Bb8<M, S> {
    type Connection = M::Connection;
    type Checkout = PooledConnection<'static, M>;

    async fn check_out(&self) -> Result<Self::Checkout, Option<Failure>> {
        // `bb8` reports every fault as a timeout.
        self.pool.get_owned().await.map_err(|_| None)
    }

    async fn connect(&self) -> Result<M::Connection, Failure> {
        let connected = self.pool.dedicated_connection().await;
        connected.map_err(|error| self.server.connect_failure(error))
    }

    async fn ping(&self, connection: &mut M::Connection) -> Result<(), PingError> {
        self.server.ping(connection).await
    }

    fn counters(&self) -> PoolCounters {
        let state = self.pool.state();
        let statistics = &state.statistics;
        PoolCounters {
            max: self.pool.config().max_size,
            open: state.connections,
            idle: state.idle_connections,
            invalid: statistics.connections_closed_invalid,
            served: Some(statistics.get_direct + statistics.get_waited),
            waited: statistics.get_wait_time,
        }
    }

    fn checkout_test(&self) -> CheckoutTest {
        if !self.pool.config().test_on_check_out {
            return CheckoutTest::None;
        }
        // `bb8` tests each connection, also one that was just opened, and counts a checkout after its test.
        let by_type = || match tests_by_round_trip(type_name::<M>()) {
            true => CheckoutTest::ServerAnswered,
            false => CheckoutTest::Unknown,
        };
        self.server.checkout_test().unwrap_or_else(by_type)
    }

    fn keeps_broken(&self) -> bool {
        S::KEEPS_BROKEN && !self.pool.config().test_on_check_out
    }

    fn add(&self, connection: M::Connection) -> Result<(), M::Connection> {
        match self.pool.add(connection) {
            // `bb8` closes a broken one, so nothing is left to keep.
            Ok(()) | Err(AddError::Broken(_)) => Ok(()),
            Err(AddError::NoCapacity(connection)) => Err(connection),
        }
    }

    fn has_proof(&self) -> bool {
        self.server.has_proof()
    }

    async fn prove(
        &self,
        connection: &mut M::Connection,
        until: Instant,
    ) -> Result<CheckResult, Failure> {
        self.server.prove(connection, until).await
    }
}

/// Whether `is_valid` of the manager with this type name is known to make a round trip to the server.
///
/// By name, because the managers are generic over their TLS connector. A manager that is not
/// recognized costs one more round trip and nothing else.
fn tests_by_round_trip(manager: &str) -> bool {
    let wrapper = type_name::<ConnectTimeoutManager<()>>();
    let wrapper = wrapper.strip_suffix("()>").unwrap_or(wrapper);
    let manager = manager.strip_prefix(wrapper).unwrap_or(manager);
    manager.starts_with("bb8_postgres::PostgresConnectionManager<")
        || manager.starts_with("bb8_redis::RedisConnectionManager")
}

#[cfg(all(test, feature = "postgres", feature = "redis"))]
mod tests {
    use std::any::type_name;

    use bb8_postgres::PostgresConnectionManager;
    use bb8_redis::RedisConnectionManager;
    use tokio_postgres::NoTls;

    use super::{ConnectTimeoutManager, tests_by_round_trip};

    #[test]
    fn known_managers_are_recognized_by_name() {
        type Postgres = PostgresConnectionManager<NoTls>;
        for (name, known) in [
            (type_name::<Postgres>(), true),
            (type_name::<RedisConnectionManager>(), true),
            (type_name::<ConnectTimeoutManager<Postgres>>(), true),
            (
                type_name::<ConnectTimeoutManager<RedisConnectionManager>>(),
                true,
            ),
            (type_name::<ConnectTimeoutManager<u8>>(), false),
            ("app::PostgresConnectionManager<NoTls>", false),
        ] {
            assert_eq!(tests_by_round_trip(name), known, "{name}");
        }
    }
}
