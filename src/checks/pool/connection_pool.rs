//! What a check needs of a pool.

use std::{future::Future, ops::DerefMut, time::Duration};

use tokio::time::Instant;

use crate::{
    check::{CheckResult, Outcome},
    report::Failure,
};

/// A connection pool, seen by a check: the app's own pool and the server behind it.
///
/// The check calls [`check_out`](Self::check_out) and [`connect`](Self::connect) in detached
/// tasks that own what they return, so no method needs to be cancel-safe but for one case: a
/// checkout that still waits while the pool is full, and a `connect` after 10 s, are dropped.
pub(crate) trait ConnectionPool: Send + Sync + 'static {
    /// A connection to the server.
    type Connection: Send + 'static;
    /// A connection in use. Dropped, it returns to the pool.
    type Checkout: DerefMut<Target = Self::Connection> + Send + 'static;

    /// Checks a connection out as the app does.
    ///
    /// # Errors
    ///
    /// `None` where the pool gave up waiting, and the cause where the pool knows one.
    fn check_out(&self) -> impl Future<Output = Result<Self::Checkout, Option<Failure>>> + Send;

    /// Opens a connection outside the pool.
    ///
    /// # Errors
    ///
    /// Why the server cannot be connected to.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Failure>> + Send;

    /// Makes one round trip to the server itself, past any proxy.
    ///
    /// # Errors
    ///
    /// What the failure says about the connection and the server.
    fn ping(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), PingError>> + Send;

    /// The pool's counters now.
    fn counters(&self) -> PoolCounters;

    /// What a finished checkout proves. Default: nothing.
    fn checkout_test(&self) -> CheckoutTest {
        CheckoutTest::None
    }

    /// Whether the pool keeps a broken connection that returns to it. Default: no.
    fn keeps_broken(&self) -> bool {
        false
    }

    /// Adds a connection to the pool. Default: the pool takes none.
    ///
    /// # Errors
    ///
    /// The connection, where the pool has no room for it.
    fn add(&self, connection: Self::Connection) -> Result<(), Self::Connection> {
        Err(connection)
    }

    /// Whether [`prove`](Self::prove) requires more than an answer. Default: no.
    fn has_proof(&self) -> bool {
        false
    }

    /// Proves what the check requires, on a connection that answers. It should end by `until`.
    ///
    /// # Errors
    ///
    /// The connection broke, which proves nothing.
    fn prove(
        &self,
        _connection: &mut Self::Connection,
        _until: Instant,
    ) -> impl Future<Output = Result<CheckResult, Failure>> + Send {
        async { Ok(Ok(Outcome::up())) }
    }
}

/// What a finished checkout proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckoutTest {
    /// The pool does not test, so nothing.
    None,
    /// The pool tests in a way this crate does not know.
    Unknown,
    /// The server answered.
    AsksServer,
}

/// Why a ping failed.
#[derive(Debug)]
// Each kind of server uses some of them.
#[cfg_attr(not(all(feature = "postgres", feature = "redis")), allow(dead_code))]
pub(crate) enum PingError {
    /// The connection is broken. That says nothing about the server.
    Broken(Failure),
    /// The server answered and cannot serve.
    CannotServe(Failure),
    /// The server answered and forbids only the ping.
    Forbidden,
    /// The driver stopped waiting. The answer may still come.
    NoReply,
}

/// A pool's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolCounters {
    /// The most connections that the pool may hold.
    pub(crate) max: u32,
    /// Connections that the pool holds.
    pub(crate) open: u32,
    /// Connections that are not in use.
    pub(crate) idle: u32,
    /// Connections that failed the pool's test so far.
    pub(crate) invalid: u64,
    /// Checkouts served so far. `None` where the pool does not count them.
    pub(crate) served: Option<u64>,
    /// How long all checkouts together have waited.
    pub(crate) waited: Duration,
}

impl PoolCounters {
    /// Whether a checkout would not have to wait for another caller.
    pub(super) fn has_room(&self) -> bool {
        self.idle > 0 || self.open < self.max
    }
}
