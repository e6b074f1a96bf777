//! One lane: the step of a task, and whether the task's runtime is still driven.

use std::{
    future::Future,
    mem,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::super::connection_pool::{ConnectionPool, PingError};
use crate::{check::CheckResult, report::Failure};

/// How often a task shows that its runtime is driven.
const PULSE: Duration = Duration::from_millis(100);
/// After this long without a pulse a task on another runtime no longer counts.
const STOPPED: Duration = Duration::from_secs(1);
/// How often a checkout that waits is examined, and the pause before a ping is repeated.
pub(super) const RECHECK_EVERY: Duration = Duration::from_millis(10);

/// A task with one connection, and the step that it has reached.
pub(crate) struct Lane<P: ConnectionPool> {
    pub(crate) started: Instant,
    runtime: Id,
    last_pulse: Mutex<Instant>,
    step: Mutex<Step<P>>,
    /// Wakes the runs.
    changed: watch::Sender<()>,
}

pub(crate) enum Step<P: ConnectionPool> {
    /// For the pool, or for the dedicated connection to be opened.
    Waiting,
    /// Since this instant the pool tests the connection, or the check pings it.
    Holding(Instant),
    /// The connection answers, and the proof began at this instant.
    Proving(Instant),
    Ended(End<P>),
}

pub(crate) enum End<P: ConnectionPool> {
    /// The pool gave up, or the checkout would have queued with other callers.
    GaveUp,
    /// The pool opened connection after connection, and each failed its test.
    ReconnectLoop,
    /// No connection can be opened.
    Refused(Failure),
    /// No connection answered. With repair the checkout is kept for its replacement.
    Broken(Failure, Option<P::Checkout>),
    CannotServe(Failure),
    Answered(Answered),
}

/// What a connection that answered has shown.
pub(crate) struct Answered {
    /// Whether the ping, and only the ping, was refused.
    pub(crate) forbidden: bool,
    /// Whether connections were found broken before, in a pool that keeps them.
    pub(crate) broken: bool,
    pub(crate) proof: Option<CheckResult>,
    /// How long the proof could take.
    pub(crate) had: Duration,
}

impl<P: ConnectionPool> Lane<P> {
    /// A lane whose task will run on the current runtime.
    pub(super) fn new(changed: watch::Sender<()>) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            runtime: Handle::current().id(),
            last_pulse: Mutex::new(now),
            step: Mutex::new(Step::Waiting),
            changed,
        }
    }

    /// Calls `read` with the present step.
    pub(crate) fn with_step<T>(&self, read: impl FnOnce(&mut Step<P>) -> T) -> T {
        read(&mut lock(&self.step))
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.with_step(|step| matches!(step, Step::Waiting))
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.with_step(|step| matches!(step, Step::Holding(_)))
    }

    pub(crate) fn is_proving(&self) -> bool {
        self.with_step(|step| matches!(step, Step::Proving(_)))
    }

    /// Moves to `step` and wakes the runs.
    pub(super) fn set_step(&self, step: Step<P>) {
        let before = mem::replace(&mut *lock(&self.step), step);
        drop(before);
        self.changed.send_replace(());
    }

    /// Awaits `work`, and shows meanwhile that the runtime is driven.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(output) = timeout(PULSE, work.as_mut()).await {
                return output;
            }
            *lock(&self.last_pulse) = Instant::now();
        }
    }

    /// Whether a run on the current runtime may take the task's slot.
    ///
    /// A run on the task's own runtime shows that this runtime is driven.
    pub(super) fn has_stopped(&self) -> bool {
        Handle::current().id() != self.runtime && lock(&self.last_pulse).elapsed() >= STOPPED
    }

    /// Pings unless `tested`, and then proves what the check requires unless `proved`.
    pub(super) async fn examine(
        &self,
        pool: &P,
        connection: &mut P::Connection,
        tested: bool,
        proved: bool,
        until: Instant,
    ) -> Result<Answered, PingError> {
        let forbidden = !tested && self.ping(pool, connection).await?;
        let started = Instant::now();
        let mut proof = None;
        if !proved && pool.has_proof() {
            self.set_step(Step::Proving(started));
            let result = pool.prove(connection, until).await;
            proof = Some(result.map_err(PingError::Broken)?);
        }
        Ok(Answered {
            forbidden,
            broken: false,
            proof,
            had: until.saturating_duration_since(started),
        })
    }

    /// Pings until the server answers or the connection breaks. Returns whether the ping is forbidden.
    async fn ping(&self, pool: &P, connection: &mut P::Connection) -> Result<bool, PingError> {
        self.set_step(Step::Holding(Instant::now()));
        loop {
            match pool.ping(connection).await {
                Ok(()) => return Ok(false),
                Err(PingError::Forbidden) => return Ok(true),
                // The answer may still come. Never without a pause, however short the driver waits.
                Err(PingError::NoReply) => sleep(RECHECK_EVERY).await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Locks for a copy or a swap only: a panic cannot leave the value half-written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
