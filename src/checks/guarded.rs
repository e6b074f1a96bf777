//! A manager whose waits end.

use std::{error::Error, fmt, future::Future, time::Duration};

use bb8::ManageConnection;
use tokio::time::timeout;

/// Any `bb8` manager, with an end to its connects and its tests.
///
/// Two faults cannot be cured from outside a pool: a connect that hangs (behind a
/// route that drops packets, or a frozen server) holds the pool's one attempt for good, and a
/// test at checkout that hangs leaves its connection in the pool as a good one. An
/// app that builds its pool with this manager has neither:
///
/// ```
/// use tower_health::checks::{self, GuardedManager};
///
/// # async fn pools() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "postgres")] {
/// use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
///
/// let manager = PostgresConnectionManager::new_from_stringlike("host=localhost", NoTls)?;
/// let pool = bb8::Pool::builder().build(GuardedManager::new(manager)).await?;
/// let check = checks::postgres(pool.clone());
/// # }
/// # Ok(())
/// # }
/// ```
///
/// A test that fails is an error, so `bb8` evicts the connection; a connect
/// that is cut off is closed and tried again with `bb8`'s back-off.
#[derive(Clone, Debug)]
pub struct GuardedManager<M> {
    manager: M,
    connect_within: Duration,
    test_within: Duration,
}

impl<M> GuardedManager<M> {
    /// Guards `manager`: a connect may take 2 s, a test at checkout 500 ms.
    pub fn new(manager: M) -> Self {
        Self {
            manager,
            connect_within: Duration::from_secs(2),
            test_within: Duration::from_millis(500),
        }
    }

    /// How long a connect may take: name, route, TLS and login together. Default: 2 s.
    #[must_use]
    pub fn connect_within(mut self, limit: Duration) -> Self {
        self.connect_within = limit;
        self
    }

    /// How long the test at checkout may take. Default: 500 ms.
    #[must_use]
    pub fn test_within(mut self, limit: Duration) -> Self {
        self.test_within = limit;
        self
    }

    /// The manager inside.
    pub fn manager(&self) -> &M {
        &self.manager
    }
}

impl<M: ManageConnection> ManageConnection for GuardedManager<M> {
    type Connection = M::Connection;
    type Error = GuardedError<M::Error>;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        bounded(self.connect_within, self.manager.connect()).await
    }

    async fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), Self::Error> {
        bounded(self.test_within, self.manager.is_valid(connection)).await
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        self.manager.has_broken(connection)
    }
}

async fn bounded<T, E>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, GuardedError<E>> {
    match timeout(limit, work).await {
        Ok(result) => result.map_err(GuardedError::Manager),
        Err(_) => Err(GuardedError::TimedOut),
    }
}

/// An error of a [`GuardedManager`].
// Complete for ever: a guard has nothing to say but that its time is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardedError<E> {
    /// The manager inside did not come to an end in time.
    TimedOut,
    /// The manager inside says so.
    Manager(E),
}

impl<E: fmt::Display> fmt::Display for GuardedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Manager(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for GuardedError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TimedOut => None,
            Self::Manager(error) => error.source(),
        }
    }
}
