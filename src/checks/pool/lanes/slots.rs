//! The slots of one check, and the guard that frees them.

use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::{
    super::connection_pool::{CheckoutTest, ConnectionPool, PoolCounters},
    lane::{End, Lane, Step, lock},
};
use crate::report::{Failure, Reason};

/// A login that takes longer is closed: behind a silent route, TCP's own retries come minutes apart.
/// After each such login the next one may take twice as long.
pub(super) const LOGIN_LIMIT: Duration = Duration::from_secs(3);

/// The slots for checkouts: the second only next to a checkout that hangs.
pub(super) const CHECKOUTS: Range<usize> = 0..2;
/// The slot for the dedicated connection.
pub(super) const DEDICATED: Range<usize> = 2..3;

/// The lanes of one check value, shared by its clones.
pub(crate) struct Lanes<P: ConnectionPool> {
    pub(crate) pool: P,
    pub(super) state: Mutex<LanesState<P>>,
    /// Notified at each step of a lane.
    pub(crate) changed: watch::Sender<()>,
    /// Whether a checkout was seen to wait for the pool's test.
    pub(super) saw_test: AtomicBool,
    /// Whether a checkout was ready at its first poll, which no test can be.
    pub(super) saw_no_test: AtomicBool,
    /// Checkouts of this check that the pool has served.
    pub(super) own_served: AtomicU64,
}

pub(super) struct LanesState<P: ConnectionPool> {
    slots: [Option<Arc<Lane<P>>>; 3],
    /// A dedicated connection that answered and is kept while the pool does not. Its slot is free.
    pub(super) spare: Option<P::Connection>,
    last_run: LastRun,
    pub(super) login_limit: Duration,
}

/// What one run leaves to the next: when to begin something, never what to report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastRun {
    /// Whether the last run got no answer from the pool, or has repaired it.
    pub(crate) doubt: bool,
    /// How long the last run took that the pool answered.
    pub(crate) took: Duration,
}

impl<P: ConnectionPool> Lanes<P> {
    pub(crate) fn new(pool: P) -> Self {
        Self {
            pool,
            state: Mutex::new(LanesState {
                slots: [None, None, None],
                spare: None,
                last_run: LastRun::default(),
                login_limit: LOGIN_LIMIT,
            }),
            changed: watch::Sender::new(()),
            saw_test: AtomicBool::new(false),
            saw_no_test: AtomicBool::new(false),
            own_served: AtomicU64::new(0),
        }
    }

    pub(crate) fn last_run(&self) -> LastRun {
        lock(&self.state).last_run
    }

    pub(crate) fn set_last_run(&self, last: LastRun) {
        lock(&self.state).last_run = last;
    }

    /// Checkouts of this check that the pool has served so far.
    pub(crate) fn own_served(&self) -> u64 {
        self.own_served.load(Ordering::Relaxed)
    }

    /// Checkouts served so far, if each proves an answer of the server.
    pub(crate) fn served(&self, counters: &PoolCounters) -> Option<u64> {
        let is_tested = match self.pool.checkout_test() {
            CheckoutTest::ServerAnswered | CheckoutTest::Counted => true,
            CheckoutTest::Unknown => {
                self.saw_test.load(Ordering::Relaxed) && !self.saw_no_test.load(Ordering::Relaxed)
            }
            CheckoutTest::None => false,
        };
        counters.served.filter(|_| is_tested)
    }

    /// The checkouts in progress.
    pub(crate) fn active(&self) -> Vec<Arc<Lane<P>>> {
        let state = lock(&self.state);
        let lanes = state.slots[CHECKOUTS].iter().flatten();
        lanes.filter(|lane| !lane.has_stopped()).cloned().collect()
    }

    /// Begins `work` in a free one of `slots`, or joins a lane there that is not `known` to the run yet.
    ///
    /// `work` gets the spare if it is for the dedicated connection, and may return one.
    pub(super) fn begin<F>(
        self: &Arc<Self>,
        mut slots: Range<usize>,
        known: &[Arc<Lane<P>>],
        work: impl FnOnce(Arc<Self>, Arc<Lane<P>>, Option<P::Connection>) -> F,
    ) -> Option<Arc<Lane<P>>>
    where
        F: Future<Output = (End<P>, Option<P::Connection>)> + Send + 'static,
    {
        let mut state = lock(&self.state);
        let is_new = |lane: &Arc<Lane<P>>| {
            !lane.has_stopped() && !known.iter().any(|other| Arc::ptr_eq(other, lane))
        };
        let mut lanes = state.slots[slots.clone()].iter().flatten();
        if let Some(lane) = lanes.find(|lane| is_new(lane)) {
            return Some(lane.clone());
        }
        let is_free = |lane: &Option<Arc<Lane<P>>>| lane.as_ref().is_none_or(|l| l.has_stopped());
        let spare = state.spare.take_if(|_| slots == DEDICATED);
        let slot = slots.find(|slot| is_free(&state.slots[*slot]))?;
        let lane = Arc::new(Lane::new(self.changed.clone()));
        let stopped = state.slots[slot].replace(lane.clone());
        drop(state);
        drop(stopped);
        let mut guard = SlotGuard {
            lanes: self.clone(),
            lane: lane.clone(),
            spare: None,
        };
        let work = work(self.clone(), lane.clone(), spare);
        let task = lane.clone();
        tokio::spawn(async move {
            let (end, spare) = task.drive(work).await;
            guard.spare = spare;
            // The slot first: a run that begins now must not join a lane that has ended.
            drop(guard);
            task.set_step(Step::Ended(end));
        });
        Some(lane)
    }
}

/// Frees a slot, also when the task panics or its runtime shuts down.
struct SlotGuard<P: ConnectionPool> {
    lanes: Arc<Lanes<P>>,
    lane: Arc<Lane<P>>,
    /// The dedicated connection, if it is kept.
    spare: Option<P::Connection>,
}

impl<P: ConnectionPool> Drop for SlotGuard<P> {
    fn drop(&mut self) {
        if thread::panicking() {
            let end = End::Broken(Failure::new(Reason::Panicked), None);
            self.lane.with_step(|step| *step = Step::Ended(end));
        }
        let is_own = |lane: &mut Arc<Lane<P>>| Arc::ptr_eq(lane, &self.lane);
        let mut state = lock(&self.lanes.state);
        // Another task may have taken the slot of one whose runtime had stopped: then the connection is closed.
        let mut slots = state.slots.iter_mut();
        let lane = slots.find_map(|slot| slot.take_if(is_own));
        if lane.is_some() && self.spare.is_some() {
            state.spare = self.spare.take();
        }
        drop(state);
        self.lanes.changed.send_replace(());
    }
}
