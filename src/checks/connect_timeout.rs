//! A `bb8` manager with a limit on opening a connection.

use std::{error::Error, fmt, time::Duration};

use bb8::ManageConnection;
use tokio::time::timeout;

/// Wraps a `bb8` manager and limits how long opening a connection may take.
///
/// The limit covers the name, the route, TLS and the login together.
///
/// `bb8` waits for one connect at a time, and `connect_timeout` of `tokio_postgres` ends with the TCP
/// connect. A server that accepts a connection and never answers the login would block the pool's
/// one attempt until TCP gives up. A login that exceeds the limit is closed, which is safe, and `bb8` tries
/// again with its backoff.
///
/// ```
/// use tower_health::checks::{self, ConnectTimeoutManager};
///
/// # async fn pools() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "postgres")] {
/// use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
///
/// let manager = PostgresConnectionManager::new_from_stringlike("host=localhost", NoTls)?;
/// let pool = bb8::Pool::builder().build_unchecked(ConnectTimeoutManager::new(manager));
/// let check = checks::postgres(pool.clone());
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectTimeoutManager<M> {
    manager: M,
    limit: Duration,
}

impl<M> ConnectTimeoutManager<M> {
    /// Wraps `manager` with a limit of 2 s.
    pub fn new(manager: M) -> Self {
        Self {
            manager,
            limit: Duration::from_secs(2),
        }
    }

    /// Sets how long opening a connection may take. Default: 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the wrapped manager.
    pub fn manager(&self) -> &M {
        &self.manager
    }
}

impl<M: ManageConnection> ManageConnection for ConnectTimeoutManager<M> {
    type Connection = M::Connection;
    type Error = ConnectTimeoutError<M::Error>;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        match timeout(self.limit, self.manager.connect()).await {
            Ok(result) => result.map_err(ConnectTimeoutError::Manager),
            Err(_) => Err(ConnectTimeoutError::TimedOut),
        }
    }

    // Not limited. A connection whose test is cut off returns to the pool as a good one, or
    // is closed while the server still works for it.
    async fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), Self::Error> {
        let result = self.manager.is_valid(connection).await;
        result.map_err(ConnectTimeoutError::Manager)
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        self.manager.has_broken(connection)
    }
}

/// An error of a [`ConnectTimeoutManager`].
// Exhaustive: the wrapper has nothing to report but its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectTimeoutError<E> {
    /// Opening a connection exceeded the limit.
    TimedOut,
    /// An error of the wrapped manager.
    Manager(E),
}

impl<E: fmt::Display> fmt::Display for ConnectTimeoutError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no connection within the connect timeout"),
            Self::Manager(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for ConnectTimeoutError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TimedOut => None,
            Self::Manager(error) => error.source(),
        }
    }
}
