//! What a check needs to know about a pool.

use std::{error::Error, future::Future, ops::DerefMut, time::Duration};

use tokio::time::Instant;

use super::sqlstate_code::{failure_of_code, is_of_connection};
use crate::{
    check::{CheckResult, Outcome},
    report::{Failure, Reason},
};

/// The app's connection pool, and the server behind it, as [`connection_pool`](crate::checks::connection_pool) checks them.
///
/// Implement it for a type that holds a handle of the app's pool. Four methods are required; the others
/// let the check know more, and their defaults are safe. The rules of a run are those of
/// [the module](crate::checks).
///
/// 1. The check calls [`check_out`](Self::check_out), [`connect`](Self::connect) and
///    [`ping`](Self::ping) in detached tasks, and awaits them to the end. They need no time limit and need not
///    be cancel-safe. Two futures are dropped: a checkout that waits in a full pool, and a connect that takes
///    more than 3 s (12 s after several of these).
/// 2. It drops a [`Checkout`](Self::Checkout) only after the reply to its ping.
/// 3. It opens at most one connection by [`connect`](Self::connect) at a time, and drops it when the pool answers.
///
/// ```
/// use std::{io, sync::Arc};
///
/// use tower_health::{
///     Failure, Health,
///     checks::{self, ConnectionPool, PingError, PoolCounters},
/// };
/// # struct Broker;
/// # struct BrokerGuard(Broker);
/// # impl std::ops::Deref for BrokerGuard { type Target = Broker; fn deref(&self) -> &Broker { &self.0 } }
/// # impl std::ops::DerefMut for BrokerGuard { fn deref_mut(&mut self) -> &mut Broker { &mut self.0 } }
/// # impl Broker {
/// #     async fn connect(_: &str) -> io::Result<Self> { Ok(Self) }
/// #     async fn ping(&mut self) -> io::Result<()> { Ok(()) }
/// # }
/// # struct Pool;
/// # impl Pool {
/// #     async fn get(&self) -> io::Result<BrokerGuard> { Ok(BrokerGuard(Broker)) }
/// #     fn max_size(&self) -> u32 { 10 }
/// #     fn size(&self) -> u32 { 3 }
/// #     fn idle(&self) -> u32 { 3 }
/// # }
///
/// struct BrokerPool(Arc<Pool>);
///
/// impl ConnectionPool for BrokerPool {
///     type Connection = Broker;
///     type Checkout = BrokerGuard; // `DerefMut<Target = Broker>`: returns to the pool when dropped
///
///     async fn check_out(&self) -> Result<BrokerGuard, Option<Failure>> {
///         self.0.get().await.map_err(|error| match error.kind() {
///             io::ErrorKind::TimedOut => None, // the pool gave up: it knows no cause
///             _ => Some(error.into()),
///         })
///     }
///
///     async fn connect(&self) -> Result<Broker, Failure> {
///         Ok(Broker::connect("broker:5672").await?)
///     }
///
///     async fn ping(&self, broker: &mut Broker) -> Result<(), PingError> {
///         broker.ping().await.map_err(|error| PingError::Broken(error.into()))
///     }
///
///     fn counters(&self) -> PoolCounters {
///         PoolCounters::new(self.0.max_size(), self.0.size(), self.0.idle())
///     }
/// }
///
/// # fn app(pool: Arc<Pool>) -> Health {
/// Health::builder().check("broker", checks::connection_pool(BrokerPool(pool))).build()
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let report = app(Arc::new(Pool)).report().await;
/// # assert_eq!(report.status, tower_health::Status::Up);
/// # }
/// ```
pub trait ConnectionPool: Send + Sync + 'static {
    /// A connection to the server.
    type Connection: Send + 'static;
    /// A connection in use. When dropped, it returns to the pool.
    type Checkout: DerefMut<Target = Self::Connection> + Send + 'static;

    /// Checks a connection out, as the app does.
    ///
    /// # Errors
    ///
    /// `None` where the pool gave up waiting, and the cause where the pool knows one.
    fn check_out(&self) -> impl Future<Output = Result<Self::Checkout, Option<Failure>>> + Send;

    /// Opens a connection outside the pool, with the same settings.
    ///
    /// # Errors
    ///
    /// Why the server refuses it. This is the reason that callers see.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Failure>> + Send;

    /// Makes one round trip to the server itself, past any proxy.
    ///
    /// # Errors
    ///
    /// What the error proves: about this connection, or about the server.
    fn ping(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), PingError>> + Send;

    /// Returns the pool's counters now. Called about every 10 ms during a run that takes long.
    fn counters(&self) -> PoolCounters;

    /// Returns what a finished checkout proves. Default: nothing, so the check pings.
    ///
    /// A pool that tests at checkout must return another value. Only then does the check await a checkout
    /// in its test, where the pool has become full meanwhile. [`CheckoutTest`] says which value to return.
    fn checkout_test(&self) -> CheckoutTest {
        CheckoutTest::None
    }

    /// Returns whether the pool keeps a broken connection that returns to it. Default: no.
    fn keeps_broken(&self) -> bool {
        false
    }

    /// Adds a connection to the pool, which wakes its waiting callers. Default: the pool accepts none.
    ///
    /// # Errors
    ///
    /// The connection, where the pool has no room for it.
    fn add(&self, connection: Self::Connection) -> Result<(), Self::Connection> {
        Err(connection)
    }

    /// Returns whether [`prove`](Self::prove) requires more than an answer. Default: no.
    fn has_proof(&self) -> bool {
        false
    }

    /// Proves what the check requires, such as a role, on a connection that answers.
    ///
    /// It should end by `until`, with nothing pending on the connection. Default: up.
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
///
/// With a test, the checkouts of other callers are evidence, too, if the pool counts them.
///
/// | the pool's test | value |
/// |---|---|
/// | none | `None` |
/// | a round trip for each checkout, also of a connection that was just opened | `ServerAnswered` |
/// | a round trip for some checkouts, and the adapter counts these | `Counted` |
/// | any other | `Unknown` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckoutTest {
    /// The pool does not test, so nothing.
    None,
    /// The pool tests, perhaps without the server or not each connection. The check pings.
    ///
    /// The pool's counters are evidence once a test has taken time, unless a checkout took none.
    Unknown,
    /// The server answered at each checkout that [`PoolCounters::served`] counts. The check pings.
    ///
    /// For a pool that tests idle connections only, and runs a hook after its test: the hook counts. A
    /// checkout that is missing in the counter makes the check slower to see that the pool works.
    Counted,
    /// The server answered, at each checkout, also of a connection that was just opened. The check sends no ping.
    ServerAnswered,
}

/// Why a ping failed.
///
/// `From` converts the errors of `tokio_postgres` (feature `postgres`) and `redis` (feature `redis`), with
/// their reasons. `Failure::from` keeps the reason, for [`connect`](ConnectionPool::connect).
#[derive(Debug)]
#[non_exhaustive]
pub enum PingError {
    /// The connection is broken. This proves nothing about the server.
    Broken(Failure),
    /// The server answered and cannot serve.
    CannotServe(Failure),
    /// The server answered and forbids only the ping.
    Forbidden,
    /// The driver stopped waiting. The answer may still arrive, and the check pings again.
    NoReply,
}

impl PingError {
    /// Creates the error for a SQLSTATE that Postgres sent, with its reason, a message and the raw error for the log.
    ///
    /// Codes that end one connection (classes 08 and 57P) are [`Broken`](Self::Broken), except 57P03 (starting
    /// up or shutting down). All others are [`CannotServe`](Self::CannotServe).
    pub fn from_sqlstate(code: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let failure = failure_of_code(code).caused_by(error);
        match is_of_connection(code) || code.starts_with("08") {
            true => Self::Broken(failure),
            false => Self::CannotServe(failure),
        }
    }
}

/// The failure inside; `rejected` for a forbidden ping and `timeout` for no reply.
impl From<PingError> for Failure {
    fn from(error: PingError) -> Self {
        match error {
            PingError::Broken(failure) | PingError::CannotServe(failure) => failure,
            PingError::Forbidden => Reason::Rejected.into(),
            PingError::NoReply => Reason::Timeout.into(),
        }
    }
}

/// The counters of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PoolCounters {
    /// The most connections that the pool may hold.
    pub max: u32,
    /// Connections that the pool holds.
    pub open: u32,
    /// Connections that are not in use.
    pub idle: u32,
    /// Connections that failed the pool's test so far. Default: 0.
    pub invalid: u64,
    /// Checkouts served so far. Default: `None`, the pool does not count them.
    pub served: Option<u64>,
    /// How long all served checkouts together have waited. Default: zero.
    pub waited: Duration,
}

impl PoolCounters {
    /// Creates counters of a pool that may hold `max` connections, holds `open`, and has `idle` of these to give.
    pub fn new(max: u32, open: u32, idle: u32) -> Self {
        Self {
            max,
            open,
            idle,
            ..Self::default()
        }
    }

    /// Sets how many connections failed the pool's test so far.
    ///
    /// With it a run notices that each new connection fails its test, and stops opening more.
    #[must_use]
    pub fn invalid(mut self, connections: u64) -> Self {
        self.invalid = connections;
        self
    }

    /// Sets how many checkouts the pool has served so far, and how long all of them together have waited.
    ///
    /// Counts as evidence if the pool [tests at checkout](CheckoutTest): a busy pool that serves its callers is up.
    /// Checkouts of the check count, too.
    ///
    /// A pool that does not measure waits says zero. It is then up while it serves, however long its callers
    /// wait; [`degraded_above`](crate::checks::ConnectionPoolCheck::degraded_above) reports that all connections are in use.
    #[must_use]
    pub fn served(mut self, checkouts: u64, waited: Duration) -> Self {
        self.served = Some(checkouts);
        self.waited = waited;
        self
    }

    /// Whether a checkout would not have to wait for another caller.
    pub(super) fn has_room(&self) -> bool {
        self.idle > 0 || self.open < self.max
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, PingError, PoolCounters, Reason};

    #[test]
    fn a_sqlstate_says_what_is_broken() {
        for (code, broken, reason) in [
            ("57P01", true, Reason::Loading),
            ("57P03", false, Reason::Loading),
            ("08P01", true, Reason::Unreachable),
            ("53300", false, Reason::Exhausted),
            ("25P02", false, Reason::Rejected),
        ] {
            let error = PingError::from_sqlstate(code, "text");
            assert_eq!(matches!(error, PingError::Broken(_)), broken, "{code}");
            let failure = Failure::from(error);
            assert_eq!(failure.reason(), reason, "{code}");
            assert_eq!(failure.cause_for_the_log().as_deref(), Some("text"));
        }
    }

    #[test]
    fn errors_without_a_failure_have_a_reason() {
        let reason = |error| Failure::from(error).reason();
        assert_eq!(reason(PingError::Forbidden), Reason::Rejected);
        assert_eq!(reason(PingError::NoReply), Reason::Timeout);
    }

    #[test]
    fn a_full_pool_is_not_queued_at() {
        for (max, open, idle, has_room) in [
            (2, 2, 0, false),
            (2, 1, 0, true),
            (2, 2, 1, true),
            (0, 0, 0, false),
        ] {
            assert_eq!(PoolCounters::new(max, open, idle).has_room(), has_room);
        }
    }
}
