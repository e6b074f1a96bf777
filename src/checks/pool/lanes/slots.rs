//! The slots of one check, and the guards that free them.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::connection_pool::{CheckoutTest, ConnectionPool, PoolCounters},
    checkout::{CheckoutEnd, CheckoutLane, CheckoutPlan, CheckoutStep},
    dedicated::{DedicatedEnd, DedicatedLane, DedicatedStep},
    lane::Lane,
    shared::{SharedState, lock},
};
use crate::report::{Failure, Reason};

/// The lanes of one check value, shared by its clones.
pub(crate) struct Lanes<P: ConnectionPool> {
    pub(crate) pool: P,
    pub(crate) shared: SharedState,
    checkouts: Mutex<[Option<Arc<CheckoutLane<P>>>; 2]>,
    dedicated: Mutex<DedicatedSlot<P::Connection>>,
    last_run: Mutex<LastRun>,
}

/// What one run leaves to the next: when to begin something, never what to report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastRun {
    /// Whether the last run got no answer from the pool, or has repaired it.
    pub(crate) doubt: bool,
    /// How long the last run took that the pool answered.
    pub(crate) took: Duration,
}

enum DedicatedSlot<C> {
    Empty,
    Busy(Arc<DedicatedLane>),
    /// A connection that answered and is kept while the pool does not.
    Spare(C),
}

impl<P: ConnectionPool> Lanes<P> {
    pub(crate) fn new(pool: P) -> Self {
        Self {
            pool,
            shared: SharedState::new(),
            checkouts: Mutex::default(),
            dedicated: Mutex::new(DedicatedSlot::Empty),
            last_run: Mutex::default(),
        }
    }

    pub(crate) fn last_run(&self) -> LastRun {
        *lock(&self.last_run)
    }

    pub(crate) fn set_last_run(&self, last: LastRun) {
        *lock(&self.last_run) = last;
    }

    /// Checkouts served so far, if each proves an answer of the server.
    pub(crate) fn served(&self, counters: &PoolCounters) -> Option<u64> {
        let is_tested = match self.pool.checkout_test() {
            CheckoutTest::ServerAnswered | CheckoutTest::Counted => true,
            CheckoutTest::Unknown => {
                self.shared.saw_test.load(Ordering::Relaxed)
                    && !self.shared.saw_no_test.load(Ordering::Relaxed)
            }
            CheckoutTest::None => false,
        };
        counters.served.filter(|_| is_tested)
    }

    /// The checkouts in progress.
    pub(crate) fn active(&self) -> Vec<Arc<CheckoutLane<P>>> {
        let slots = lock(&self.checkouts);
        let lanes = slots.iter().flatten();
        lanes.filter(|lane| !lane.has_stopped()).cloned().collect()
    }

    /// Begins a checkout in a free slot, or joins one that is not `known` to the run yet.
    pub(crate) fn begin_checkout(
        self: &Arc<Self>,
        known: &[Arc<CheckoutLane<P>>],
        plan: CheckoutPlan,
    ) -> Option<Arc<CheckoutLane<P>>> {
        let mut slots = lock(&self.checkouts);
        let is_known = |lane: &Arc<_>| known.iter().any(|other| Arc::ptr_eq(other, lane));
        let mut driven = slots.iter().flatten();
        if let Some(lane) = driven.find(|lane| !lane.has_stopped() && !is_known(lane)) {
            return Some(lane.clone());
        }
        let is_free = |slot: &Option<Arc<CheckoutLane<P>>>| {
            slot.as_ref().is_none_or(|lane| lane.has_stopped())
        };
        let index = slots.iter().position(is_free)?;
        let lane = Arc::new(Lane::new(CheckoutStep::Waiting));
        let stopped = slots[index].replace(lane.clone());
        drop(slots);
        drop(stopped);
        let guard = CheckoutSlotGuard {
            lanes: self.clone(),
            lane: lane.clone(),
            index,
        };
        let task = lane.clone();
        tokio::spawn(async move {
            let lanes = guard.lanes.clone();
            let end = task
                .drive(task.examine(&lanes.pool, &lanes.shared, plan))
                .await;
            // The slot first: a run that begins now must not join a lane that has ended.
            drop(guard);
            task.set_step(&lanes.shared, CheckoutStep::Ended(end));
        });
        Some(lane)
    }

    /// Begins to use the dedicated connection, or joins the task that does.
    pub(crate) fn begin_dedicated(self: &Arc<Self>, until: Instant) -> Arc<DedicatedLane> {
        let mut slot = lock(&self.dedicated);
        if let DedicatedSlot::Busy(lane) = &*slot
            && !lane.has_stopped()
        {
            return lane.clone();
        }
        let lane = Arc::new(Lane::new(DedicatedStep::Connecting));
        let spare = match mem::replace(&mut *slot, DedicatedSlot::Busy(lane.clone())) {
            DedicatedSlot::Spare(spare) => Some(spare),
            DedicatedSlot::Empty | DedicatedSlot::Busy(_) => None,
        };
        drop(slot);
        let mut guard = DedicatedSlotGuard {
            lanes: self.clone(),
            lane: lane.clone(),
            spare: None,
        };
        let task = lane.clone();
        tokio::spawn(async move {
            let lanes = guard.lanes.clone();
            let examined = task.examine(&lanes.pool, &lanes.shared, spare, until);
            let (end, spare) = task.drive(examined).await;
            guard.spare = spare;
            drop(guard);
            task.set_step(&lanes.shared, DedicatedStep::Ended(end));
        });
        lane
    }

    /// Removes the spare connection from its slot.
    pub(crate) fn take_spare(&self) -> Option<P::Connection> {
        let mut slot = lock(&self.dedicated);
        match mem::replace(&mut *slot, DedicatedSlot::Empty) {
            DedicatedSlot::Spare(spare) => Some(spare),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Adds the spare connection to the pool if that has room; keeps it otherwise.
    pub(crate) fn give_spare(&self) {
        let mut slot = lock(&self.dedicated);
        *slot = match mem::replace(&mut *slot, DedicatedSlot::Empty) {
            DedicatedSlot::Spare(spare) => match self.pool.add(spare) {
                Ok(()) => DedicatedSlot::Empty,
                Err(spare) => DedicatedSlot::Spare(spare),
            },
            other => other,
        };
    }
}

impl<P: ConnectionPool> fmt::Debug for Lanes<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

/// Frees a checkout's slot, also when the task panics or its runtime shuts down.
struct CheckoutSlotGuard<P: ConnectionPool> {
    lanes: Arc<Lanes<P>>,
    lane: Arc<CheckoutLane<P>>,
    index: usize,
}

impl<P: ConnectionPool> Drop for CheckoutSlotGuard<P> {
    fn drop(&mut self) {
        if thread::panicking() {
            let failure = Failure::new(Reason::Panicked);
            let end = CheckoutStep::Ended(CheckoutEnd::Broken(failure, None));
            self.lane.with_step(|step| *step = end);
        }
        let mut slots = lock(&self.lanes.checkouts);
        // Another task may have taken the slot of one whose runtime had stopped.
        let lane = slots[self.index].take_if(|lane| Arc::ptr_eq(lane, &self.lane));
        drop(slots);
        self.lanes.shared.notify();
        drop(lane);
    }
}

/// Frees the slot of the dedicated connection, which may stay as the spare.
struct DedicatedSlotGuard<P: ConnectionPool> {
    lanes: Arc<Lanes<P>>,
    lane: Arc<DedicatedLane>,
    spare: Option<P::Connection>,
}

impl<P: ConnectionPool> Drop for DedicatedSlotGuard<P> {
    fn drop(&mut self) {
        if thread::panicking() {
            let failure = Failure::new(Reason::Panicked);
            let end = DedicatedStep::Ended(DedicatedEnd::Failed(failure));
            self.lane.with_step(|step| *step = end);
        }
        let mut slot = lock(&self.lanes.dedicated);
        // Another task may have taken the slot: then the connection is closed.
        if !matches!(&*slot, DedicatedSlot::Busy(lane) if Arc::ptr_eq(lane, &self.lane)) {
            return;
        }
        let spare = self
            .spare
            .take()
            .map_or(DedicatedSlot::Empty, DedicatedSlot::Spare);
        let before = mem::replace(&mut *slot, spare);
        drop(slot);
        self.lanes.shared.notify();
        drop(before);
    }
}
