//! What the lanes of one check have learned about the pool, and the channel that wakes the runs.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{error::Elapsed, sleep, timeout},
};

use super::super::connection_pool::{ConnectionPool, PingError};
use crate::report::Failure;

/// A login that takes longer is closed: behind a silent route, TCP's own retries come minutes apart.
/// After each such login the next one may take twice as long, up to [`MAX_LOGIN`].
const LOGIN_LIMIT: Duration = Duration::from_secs(3);
const MAX_LOGIN: Duration = Duration::from_secs(12);
/// How often a checkout that waits is examined, and the pause before a ping is repeated.
pub(super) const RECHECK_EVERY: Duration = Duration::from_millis(10);

/// The state that the lanes of one check share.
pub(crate) struct SharedState {
    /// Whether a checkout was seen to wait for the pool's test.
    pub(super) saw_test: AtomicBool,
    /// Whether a checkout was ready at its first poll, which no test can be.
    pub(super) saw_no_test: AtomicBool,
    /// Checkouts of this check that the pool has served.
    pub(super) own_served: AtomicU64,
    changed: watch::Sender<()>,
    login_limit: Mutex<Duration>,
}

impl SharedState {
    pub(super) fn new() -> Self {
        Self {
            saw_test: AtomicBool::new(false),
            saw_no_test: AtomicBool::new(false),
            own_served: AtomicU64::new(0),
            changed: watch::Sender::new(()),
            login_limit: Mutex::new(LOGIN_LIMIT),
        }
    }

    /// Receives a notification for each step of a lane.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Checkouts of this check that the pool has served so far.
    pub(crate) fn own_served(&self) -> u64 {
        self.own_served.load(Ordering::Relaxed)
    }

    /// Opens a connection outside the pool, or closes it if that takes too long.
    pub(super) async fn connect<P: ConnectionPool>(
        &self,
        pool: &P,
    ) -> Result<Result<P::Connection, Failure>, Elapsed> {
        let limit = *lock(&self.login_limit);
        let connected = timeout(limit, pool.connect()).await;
        *lock(&self.login_limit) = match connected {
            Ok(_) => LOGIN_LIMIT,
            Err(_) => MAX_LOGIN.min(limit * 2),
        };
        connected
    }
}

/// Pings until the server answers or the connection breaks.
///
/// After a driver that stops waiting the ping is repeated, since the answer may still come.
pub(super) async fn ping<P: ConnectionPool>(
    pool: &P,
    connection: &mut P::Connection,
) -> Result<(), PingError> {
    loop {
        match pool.ping(connection).await {
            // Never without a pause, however short the driver waits.
            Err(PingError::NoReply) => sleep(RECHECK_EVERY).await,
            result => return result,
        }
    }
}

/// Locks for a copy or a swap only: a panic cannot leave the value half-written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
