//! Detached tasks that own a connection until nothing of the check is pending on it.
//!
//! A check has three slots: two for checkouts, one for the dedicated connection. A task
//! occupies its slot until its connection is back in the pool or closed. A run that finds a
//! slot occupied joins that task. Dropping a run therefore drops no connection.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    sync::watch,
    time::{Instant, error::Elapsed, sleep, timeout},
};

use super::connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters};
use crate::{
    check::CheckResult,
    report::{Failure, Reason},
};

/// A login that takes longer is closed: behind a silent route, TCP's own retries come minutes apart.
/// After each such login the next one may take twice as long, up to [`LONGEST_LOGIN`].
const LOGIN_LIMIT: Duration = Duration::from_secs(3);
const LONGEST_LOGIN: Duration = Duration::from_secs(12);
/// How often a task shows that its runtime is driven.
const PULSE: Duration = Duration::from_millis(100);
/// After this long without a pulse a task on another runtime no longer counts.
const STOPPED: Duration = Duration::from_secs(1);
/// How often a checkout that waits looks whether it waits behind other callers.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The tasks of one check value, shared by its clones.
pub(super) struct Lanes<P: ConnectionPool> {
    pub(super) pool: P,
    checkouts: Mutex<[Option<Arc<CheckoutLane<P>>>; 2]>,
    dedicated: Mutex<Slot<P::Connection>>,
    /// Whether a checkout has shown that the pool's test takes time, or that it asks nobody.
    honest: AtomicBool,
    dishonest: AtomicBool,
    /// Checkouts of this check that the pool has served.
    own_served: AtomicU64,
    news: watch::Sender<()>,
    memory: Mutex<Memory>,
    login_limit: Mutex<Duration>,
}

/// What one run leaves to the next: when to begin something, never what to report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// The last run got no answer from the pool.
    pub(super) doubt: bool,
    /// How long the last run took that the pool answered.
    pub(super) took: Duration,
}

enum Slot<C> {
    Empty,
    Busy(Arc<DedicatedLane>),
    /// A connection that answered and is kept while the pool does not.
    Spare(C),
}

/// One checkout.
pub(super) struct CheckoutLane<P: ConnectionPool> {
    pub(super) begun: Instant,
    pulse: Pulse,
    step: Mutex<CheckoutStep<P>>,
}

pub(super) enum CheckoutStep<P: ConnectionPool> {
    Waiting,
    /// The pool tests a connection, or the check pings it, since then.
    Holding(Instant),
    /// The connection answers, and the proof began then.
    Proving(Instant),
    Ended(CheckoutEnd<P>),
}

pub(super) enum CheckoutEnd<P: ConnectionPool> {
    /// The pool gave up, or the checkout would have queued with other callers.
    GaveUp,
    Storm,
    /// No connection answered. With repair the connection is kept for its replacement.
    Broken(Failure, Option<P::Checkout>),
    CannotServe(Failure),
    Answered(Answered),
}

/// A connection answered.
pub(super) struct Answered {
    /// The ping was refused, nothing else.
    pub(super) forbidden: bool,
    /// Connections that were found broken before, in a pool that keeps them.
    pub(super) broken: bool,
    pub(super) proof: Option<CheckResult>,
    /// How long the proof could take.
    pub(super) had: Duration,
}

/// The one connection outside the pool.
pub(super) struct DedicatedLane {
    pulse: Pulse,
    step: Mutex<DedicatedStep>,
}

pub(super) enum DedicatedStep {
    Connecting,
    Waiting,
    Proving(Instant),
    Ended(DedicatedEnd),
}

pub(super) enum DedicatedEnd {
    Refused(Failure),
    Failed(Failure),
    Answered(Answered),
}

impl<P: ConnectionPool> Lanes<P> {
    pub(super) fn new(pool: P) -> Self {
        Self {
            pool,
            checkouts: Default::default(),
            dedicated: Mutex::new(Slot::Empty),
            honest: AtomicBool::new(false),
            dishonest: AtomicBool::new(false),
            own_served: AtomicU64::new(0),
            news: watch::Sender::new(()),
            memory: Mutex::default(),
            login_limit: Mutex::new(LOGIN_LIMIT),
        }
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(super) fn memory(&self) -> Memory {
        *lock(&self.memory)
    }

    pub(super) fn remember(&self, memory: Memory) {
        *lock(&self.memory) = memory;
    }

    /// Checkouts of this check that the pool has served so far.
    pub(super) fn own_served(&self) -> u64 {
        self.own_served.load(Ordering::Relaxed)
    }

    /// Checkouts served to other callers so far, where each proves an answer of the server.
    pub(super) fn served_others(&self, counters: &PoolCounters, own: u64) -> Option<u64> {
        let honest = match self.pool.checkout_test() {
            CheckoutTest::AsksServer => true,
            CheckoutTest::Unknown => {
                self.honest.load(Ordering::Relaxed) && !self.dishonest.load(Ordering::Relaxed)
            }
            CheckoutTest::None => false,
        };
        counters
            .served
            .filter(|_| honest)
            .map(|served| served.saturating_sub(own))
    }

    /// The checkouts in progress.
    pub(super) fn active(&self) -> Vec<Arc<CheckoutLane<P>>> {
        let slots = lock(&self.checkouts);
        let lanes = slots.iter().flatten();
        lanes
            .filter(|lane| !lane.pulse.has_stopped())
            .cloned()
            .collect()
    }

    /// Begins a checkout in a free slot, or joins one that is not `known` to the run yet.
    pub(super) fn begin_checkout(
        self: &Arc<Self>,
        known: &[Arc<CheckoutLane<P>>],
        plan: Plan,
    ) -> Option<Arc<CheckoutLane<P>>> {
        let mut slots = lock(&self.checkouts);
        let is_known = |lane: &Arc<_>| known.iter().any(|other| Arc::ptr_eq(other, lane));
        let mut driven = slots.iter().flatten();
        if let Some(lane) = driven.find(|lane| !lane.pulse.has_stopped() && !is_known(lane)) {
            return Some(lane.clone());
        }
        let is_free = |slot: &Option<Arc<CheckoutLane<P>>>| {
            slot.as_ref().is_none_or(|lane| lane.pulse.has_stopped())
        };
        let index = slots.iter().position(is_free)?;
        let lane = Arc::new(CheckoutLane {
            begun: Instant::now(),
            pulse: Pulse::here(),
            step: Mutex::new(CheckoutStep::Waiting),
        });
        let stopped = slots[index].replace(lane.clone());
        drop(slots);
        drop(stopped);
        let place = Place {
            lanes: self.clone(),
            lane: lane.clone(),
            index,
        };
        let task = lane.clone();
        tokio::spawn(async move {
            let end = task.pulse.during(task.examine(&place.lanes, plan)).await;
            let lanes = place.lanes.clone();
            // The slot first: a run that begins now must not join a lane that has ended.
            drop(place);
            task.turn(&lanes, CheckoutStep::Ended(end));
        });
        Some(lane)
    }

    /// Begins to use the dedicated connection, or joins the task that does.
    pub(super) fn begin_dedicated(self: &Arc<Self>, until: Instant) -> Arc<DedicatedLane> {
        let mut slot = lock(&self.dedicated);
        if let Slot::Busy(lane) = &*slot
            && !lane.pulse.has_stopped()
        {
            return lane.clone();
        }
        let lane = Arc::new(DedicatedLane {
            pulse: Pulse::here(),
            step: Mutex::new(DedicatedStep::Connecting),
        });
        let spare = match mem::replace(&mut *slot, Slot::Busy(lane.clone())) {
            Slot::Spare(spare) => Some(spare),
            Slot::Empty | Slot::Busy(_) => None,
        };
        drop(slot);
        let place = DedicatedPlace {
            lanes: self.clone(),
            lane: lane.clone(),
            kept: None,
        };
        let task = lane.clone();
        tokio::spawn(async move {
            let mut place = place;
            let asking = task.ask(&place.lanes, spare, until);
            let (end, kept) = task.pulse.during(asking).await;
            place.kept = kept;
            let lanes = place.lanes.clone();
            drop(place);
            task.turn(&lanes, DedicatedStep::Ended(end));
        });
        lane
    }

    /// Takes the spare connection out of its slot.
    pub(super) fn take_spare(&self) -> Option<P::Connection> {
        let mut slot = lock(&self.dedicated);
        match mem::replace(&mut *slot, Slot::Empty) {
            Slot::Spare(spare) => Some(spare),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Gives the spare connection to the pool if that has room; keeps it otherwise.
    pub(super) fn give_spare(&self) -> bool {
        let mut slot = lock(&self.dedicated);
        match mem::replace(&mut *slot, Slot::Empty) {
            Slot::Spare(spare) => match self.pool.add(spare) {
                Ok(()) => true,
                Err(spare) => {
                    *slot = Slot::Spare(spare);
                    false
                }
            },
            other => {
                *slot = other;
                false
            }
        }
    }

    /// Opens a connection outside the pool, or closes it where that takes too long.
    async fn connect(&self) -> Result<Result<P::Connection, Failure>, Elapsed> {
        let limit = *lock(&self.login_limit);
        let connected = timeout(limit, self.pool.connect()).await;
        *lock(&self.login_limit) = match connected {
            Ok(_) => LOGIN_LIMIT,
            Err(_) => LONGEST_LOGIN.min(limit * 2),
        };
        connected
    }

    fn publish(&self) {
        self.news.send_replace(());
    }
}

/// How a checkout proceeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// When the proof should have ended.
    pub(super) until: Instant,
    /// The last run got no answer: in a pool that keeps broken connections, look at all idle ones.
    pub(super) doubt: bool,
    /// Keep a broken connection, so that it can be replaced.
    pub(super) repair: bool,
}

impl<P: ConnectionPool> CheckoutLane<P> {
    /// Runs `look` on the present step.
    pub(super) fn with_step<T>(&self, look: impl FnOnce(&mut CheckoutStep<P>) -> T) -> T {
        look(&mut lock(&self.step))
    }

    fn turn(&self, lanes: &Lanes<P>, step: CheckoutStep<P>) {
        let before = mem::replace(&mut *lock(&self.step), step);
        drop(before);
        lanes.publish();
    }

    async fn examine(&self, lanes: &Lanes<P>, plan: Plan) -> CheckoutEnd<P> {
        let pool = &lanes.pool;
        let before = pool.counters();
        let keeps_broken = pool.keeps_broken();
        // A pool that drops broken connections opens one more after those of now.
        let most = if keeps_broken {
            before.idle.max(1)
        } else {
            before.open + 1
        };
        let mut answered: Option<Answered> = None;
        let mut broken = false;
        for examined in 1..=most {
            let mut checkout = match self.wait(lanes, &before).await {
                Ok(checkout) => checkout,
                Err(_) if answered.is_some() => break,
                Err(end) => return end,
            };
            let ping = if pool.checkout_test() == CheckoutTest::AsksServer {
                Ok(())
            } else {
                self.turn(lanes, CheckoutStep::Holding(Instant::now()));
                ping(pool, &mut checkout).await
            };
            let answers = matches!(ping, Ok(()) | Err(PingError::Forbidden));
            let mut proof = None;
            let begun = Instant::now();
            let ping = if answers && pool.has_proof() && answered.is_none() {
                self.turn(lanes, CheckoutStep::Proving(begun));
                match pool.prove(&mut checkout, plan.until).await {
                    Ok(result) => {
                        proof = Some(result);
                        ping
                    }
                    Err(failure) => Err(PingError::Broken(failure)),
                }
            } else {
                ping
            };
            match ping {
                Err(PingError::CannotServe(failure)) => return CheckoutEnd::CannotServe(failure),
                Err(PingError::Broken(failure)) => {
                    if examined == most && answered.is_none() || plan.repair {
                        return CheckoutEnd::Broken(failure, plan.repair.then_some(checkout));
                    }
                    broken = keeps_broken;
                }
                Ok(()) | Err(PingError::Forbidden | PingError::NoReply) => {
                    answered.get_or_insert(Answered {
                        forbidden: ping.is_err(),
                        broken: false,
                        proof,
                        had: plan.until.saturating_duration_since(begun),
                    });
                    // The others are examined in doubt only: the run must hear of this answer in time,
                    // and a busy pool is not waited for.
                    let half = self.begun + plan.until.saturating_duration_since(self.begun) / 2;
                    let examines = keeps_broken && plan.doubt;
                    if !examines || pool.counters().idle == 0 || Instant::now() >= half {
                        break;
                    }
                }
            }
            drop(checkout);
            if answered.is_none() {
                self.turn(lanes, CheckoutStep::Waiting);
            }
        }
        match answered {
            Some(answered) => CheckoutEnd::Answered(Answered { broken, ..answered }),
            None => CheckoutEnd::GaveUp,
        }
    }

    /// Waits for a connection, but not behind other callers and not through a storm.
    async fn wait(
        &self,
        lanes: &Lanes<P>,
        before: &PoolCounters,
    ) -> Result<P::Checkout, CheckoutEnd<P>> {
        let pool = &lanes.pool;
        let mut check_out = pin!(pool.check_out());
        // Without a test nothing is held while the checkout waits.
        let tests = pool.checkout_test() != CheckoutTest::None;
        let mut first = true;
        loop {
            let mut held = self.holds();
            let mut took = false;
            let polled = poll_fn(|context| {
                let start = pool.counters();
                match check_out.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => {
                        first = false;
                        let now = pool.counters();
                        let taken = u64::from(start.idle.saturating_sub(now.idle));
                        // One that was taken and failed its test at once is not held.
                        let failed = now.invalid.saturating_sub(start.invalid);
                        held = tests && u64::from(held) + taken > failed;
                        took |= taken > 0;
                        // On each wake-up and not by a timer: in 10 ms a storm opens 40 connections.
                        let failed = now.invalid.saturating_sub(before.invalid);
                        match !held && failed > u64::from(before.open) {
                            true => Poll::Ready(None),
                            false => Poll::Pending,
                        }
                    }
                }
            });
            let polled = timeout(LOOK_EVERY, polled).await;
            if held && took {
                self.turn(lanes, CheckoutStep::Holding(Instant::now()));
            } else if !held && self.holds() {
                // A test that failed ends the hold: the checkout waits for the next connection.
                self.turn(lanes, CheckoutStep::Waiting);
            }
            match polled {
                Ok(Some(Ok(checkout))) => {
                    if first {
                        lanes.dishonest.store(true, Ordering::Relaxed);
                    } else if self.holds() {
                        lanes.honest.store(true, Ordering::Relaxed);
                    }
                    lanes.own_served.fetch_add(1, Ordering::Relaxed);
                    return Ok(checkout);
                }
                Ok(Some(Err(Some(failure)))) => return Err(CheckoutEnd::Broken(failure, None)),
                Ok(Some(Err(None))) => return Err(CheckoutEnd::GaveUp),
                Ok(None) => return Err(CheckoutEnd::Storm),
                // A connection in its test is not given up, however long that takes.
                Err(_) if !self.holds() && !pool.counters().has_room() => {
                    return Err(CheckoutEnd::GaveUp);
                }
                Err(_) => {}
            }
        }
    }

    fn holds(&self) -> bool {
        self.with_step(|step| matches!(step, CheckoutStep::Holding(_)))
    }
}

impl DedicatedLane {
    pub(super) fn with_step<T>(&self, look: impl FnOnce(&DedicatedStep) -> T) -> T {
        look(&lock(&self.step))
    }

    fn turn<P: ConnectionPool>(&self, lanes: &Lanes<P>, step: DedicatedStep) {
        *lock(&self.step) = step;
        lanes.publish();
    }

    /// Asks the server on the spare connection, or on a new one. Returns the connection if it answered.
    async fn ask<P: ConnectionPool>(
        &self,
        lanes: &Lanes<P>,
        mut spare: Option<P::Connection>,
        until: Instant,
    ) -> (DedicatedEnd, Option<P::Connection>) {
        let pool = &lanes.pool;
        loop {
            let was_spare = spare.is_some();
            let mut connection = match spare.take() {
                Some(spare) => spare,
                None => match lanes.connect().await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(failure)) => return (DedicatedEnd::Refused(failure), None),
                    Err(_) => {
                        let failure = Failure::new(Reason::Timeout).message(
                            "no new connection in time: it hangs while connecting or logging in",
                        );
                        return (DedicatedEnd::Refused(failure), None);
                    }
                },
            };
            self.turn(lanes, DedicatedStep::Waiting);
            let forbidden = match ping(pool, &mut connection).await {
                Ok(()) => false,
                Err(PingError::Forbidden) => true,
                // The spare was closed meanwhile. That says nothing: a new one tells.
                Err(PingError::Broken(_)) if was_spare => {
                    self.turn(lanes, DedicatedStep::Connecting);
                    continue;
                }
                Err(PingError::Broken(failure) | PingError::CannotServe(failure)) => {
                    return (DedicatedEnd::Failed(failure), None);
                }
                Err(PingError::NoReply) => continue,
            };
            let begun = Instant::now();
            let proof = if pool.has_proof() {
                self.turn(lanes, DedicatedStep::Proving(begun));
                match pool.prove(&mut connection, until).await {
                    Ok(result) => Some(result),
                    Err(failure) => return (DedicatedEnd::Failed(failure), None),
                }
            } else {
                None
            };
            let answered = Answered {
                forbidden,
                broken: false,
                proof,
                had: until.saturating_duration_since(begun),
            };
            return (DedicatedEnd::Answered(answered), Some(connection));
        }
    }
}

/// Pings until the server answers or the connection breaks: after a driver that stops waiting, the ping is repeated.
async fn ping<P: ConnectionPool>(
    pool: &P,
    connection: &mut P::Connection,
) -> Result<(), PingError> {
    loop {
        match pool.ping(connection).await {
            // Never without a pause, however short the driver waits.
            Err(PingError::NoReply) => sleep(LOOK_EVERY).await,
            result => return result,
        }
    }
}

/// Whether the runtime of a task is driven.
struct Pulse {
    runtime: Id,
    last: Mutex<Instant>,
}

impl Pulse {
    fn here() -> Self {
        Self {
            runtime: Handle::current().id(),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Awaits `work`, and shows meanwhile that the runtime is driven.
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(output) = timeout(PULSE, work.as_mut()).await {
                return output;
            }
            *lock(&self.last) = Instant::now();
        }
    }

    /// Whether a run here may take the task's slot. A run on the task's own runtime shows that it is driven.
    fn has_stopped(&self) -> bool {
        Handle::current().id() != self.runtime && lock(&self.last).elapsed() >= STOPPED
    }
}

/// Frees a checkout's slot, also when the task panics or its runtime shuts down.
struct Place<P: ConnectionPool> {
    lanes: Arc<Lanes<P>>,
    lane: Arc<CheckoutLane<P>>,
    index: usize,
}

impl<P: ConnectionPool> Drop for Place<P> {
    fn drop(&mut self) {
        if thread::panicking() {
            let failure = Failure::new(Reason::Panicked);
            *lock(&self.lane.step) = CheckoutStep::Ended(CheckoutEnd::Broken(failure, None));
        }
        let mut slots = lock(&self.lanes.checkouts);
        // Another task may have taken the slot of one whose runtime had stopped.
        let lane = slots[self.index].take_if(|lane| Arc::ptr_eq(lane, &self.lane));
        drop(slots);
        self.lanes.publish();
        drop(lane);
    }
}

/// The same for the dedicated connection, which may stay as the spare.
struct DedicatedPlace<P: ConnectionPool> {
    lanes: Arc<Lanes<P>>,
    lane: Arc<DedicatedLane>,
    kept: Option<P::Connection>,
}

impl<P: ConnectionPool> Drop for DedicatedPlace<P> {
    fn drop(&mut self) {
        if thread::panicking() {
            let failure = Failure::new(Reason::Panicked);
            *lock(&self.lane.step) = DedicatedStep::Ended(DedicatedEnd::Failed(failure));
        }
        let mut slot = lock(&self.lanes.dedicated);
        // As above: then the connection is closed.
        if !matches!(&*slot, Slot::Busy(lane) if Arc::ptr_eq(lane, &self.lane)) {
            return;
        }
        let kept = self.kept.take().map_or(Slot::Empty, Slot::Spare);
        let before = mem::replace(&mut *slot, kept);
        drop(slot);
        self.lanes.publish();
        drop(before);
    }
}

/// Held for a copy or a swap only. A panic cannot leave the value half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
