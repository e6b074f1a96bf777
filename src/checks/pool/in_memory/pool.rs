//! A pool in memory whose connects and pings answer, fail or hang.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::super::connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters};
use crate::{
    check::{CheckResult, Outcome},
    report::{Failure, Reason},
};

/// What the server does with a connect or a ping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Behavior {
    Answers(Duration),
    Hangs,
    Refuses,
}

/// A count now, and its maximum so far.
#[derive(Default)]
pub(super) struct Gauge {
    pub(super) now: u32,
    pub(super) most: u32,
}

impl Gauge {
    fn increase(&mut self, by: u32) {
        self.now += by;
        self.most = self.most.max(self.now);
    }
}

/// The connections, and how the server behaves.
pub(super) struct PoolState {
    max: u32,
    open: u32,
    idle: VecDeque<MemoryConnection>,
    pub(super) connects: Behavior,
    pub(super) pings: Behavior,
    /// Connections that were ever opened.
    pub(super) opened: u32,
    /// Connections outside the pool.
    pub(super) dedicated: Gauge,
    pub(super) checked_out: Gauge,
    /// Connections that were returned or closed with a ping unanswered.
    pub(super) pending: u32,
    served: u64,
    /// Proofs that break their connection before one succeeds. `None`: the check requires no proof.
    pub(super) broken_proofs: Option<u32>,
}

impl PoolState {
    pub(super) fn close_idle(&mut self) {
        self.open -= u32::try_from(self.idle.drain(..).count()).expect("few");
    }
}

#[derive(Clone)]
pub(super) struct InMemoryPool {
    state: Arc<Mutex<PoolState>>,
    changed: Arc<Notify>,
    test: CheckoutTest,
}

pub(super) struct MemoryConnection {
    /// Whether a ping is sent and not answered.
    pinged: bool,
    pool: InMemoryPool,
    pooled: bool,
}

pub(super) struct MemoryCheckout(Option<MemoryConnection>);

impl InMemoryPool {
    pub(super) fn new(max: u32, idle: u32, test: CheckoutTest) -> Self {
        let pool = Self {
            state: Arc::new(Mutex::new(PoolState {
                max,
                open: 0,
                idle: VecDeque::new(),
                connects: Behavior::Answers(Duration::from_millis(5)),
                pings: Behavior::Answers(Duration::from_millis(1)),
                opened: 0,
                dedicated: Gauge::default(),
                checked_out: Gauge::default(),
                pending: 0,
                served: 0,
                broken_proofs: None,
            })),
            changed: Arc::new(Notify::new()),
            test,
        };
        for _ in 0..idle {
            let connection = pool.connection(true);
            pool.with(|state| {
                state.open += 1;
                state.idle.push_back(connection);
            });
        }
        pool
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut PoolState) -> T) -> T {
        let result = change(&mut self.state.lock().expect("no panic under it"));
        self.changed.notify_waiters();
        result
    }

    fn connection(&self, pooled: bool) -> MemoryConnection {
        self.with(|state| {
            state.opened += 1;
            state.dedicated.increase(u32::from(!pooled));
        });
        MemoryConnection {
            pinged: false,
            pool: self.clone(),
            pooled,
        }
    }

    /// Waits until the behavior is not to hang, and then as long as the server takes.
    async fn behave(&self, read: impl Fn(&PoolState) -> Behavior) -> Result<(), Failure> {
        loop {
            let changed = self.changed.notified();
            let behavior = read(&self.state.lock().expect("no panic under it"));
            match behavior {
                Behavior::Answers(after) => {
                    sleep(after).await;
                    return Ok(());
                }
                Behavior::Refuses => return Err(Failure::new(Reason::Refused)),
                Behavior::Hangs => changed.await,
            }
        }
    }

    async fn send_ping(&self, connection: &mut MemoryConnection) -> Result<(), Failure> {
        connection.pinged = true;
        let answered = self.behave(|state| state.pings).await;
        connection.pinged = false;
        answered
    }
}

impl ConnectionPool for InMemoryPool {
    type Connection = MemoryConnection;
    type Checkout = MemoryCheckout;

    async fn check_out(&self) -> Result<MemoryCheckout, Option<Failure>> {
        loop {
            let changed = self.changed.notified();
            let idle = self
                .state
                .lock()
                .expect("no panic under it")
                .idle
                .pop_front();
            let is_new = idle.is_none();
            let connection = match idle {
                Some(connection) => connection,
                None if self.with(|state| {
                    let room = state.open < state.max;
                    state.open += u32::from(room);
                    room
                }) =>
                {
                    let connected = self.behave(|state| state.connects).await;
                    if connected.is_err() {
                        self.with(|state| state.open -= 1);
                        sleep(Duration::from_millis(400)).await;
                        continue;
                    }
                    self.connection(true)
                }
                None => {
                    changed.await;
                    continue;
                }
            };
            self.with(|state| {
                state.checked_out.increase(1);
            });
            let mut checkout = MemoryCheckout(Some(connection));
            let tests = match self.test {
                CheckoutTest::ServerAnswered => true,
                CheckoutTest::Counted => !is_new,
                CheckoutTest::None | CheckoutTest::Unknown => false,
            };
            if tests && self.send_ping(&mut checkout).await.is_err() {
                continue;
            }
            let counts = tests || self.test != CheckoutTest::Counted;
            self.with(|state| state.served += u64::from(counts));
            return Ok(checkout);
        }
    }

    async fn connect(&self) -> Result<MemoryConnection, Failure> {
        // Open from its first packet on.
        let connection = self.connection(false);
        self.behave(|state| state.connects).await?;
        Ok(connection)
    }

    async fn ping(&self, connection: &mut MemoryConnection) -> Result<(), PingError> {
        self.send_ping(connection).await.map_err(PingError::Broken)
    }

    fn counters(&self) -> PoolCounters {
        let state = self.state.lock().expect("no panic under it");
        PoolCounters {
            max: state.max,
            open: state.open,
            idle: u32::try_from(state.idle.len()).expect("few"),
            invalid: 0,
            served: Some(state.served),
            waited: Duration::ZERO,
        }
    }

    fn checkout_test(&self) -> CheckoutTest {
        self.test
    }

    fn has_proof(&self) -> bool {
        self.with(|state| state.broken_proofs.is_some())
    }

    async fn prove(&self, _: &mut MemoryConnection, _: Instant) -> Result<CheckResult, Failure> {
        let breaks = self.with(|state| {
            let left = state.broken_proofs.unwrap_or_default();
            state.broken_proofs = Some(left.saturating_sub(1));
            left > 0
        });
        match breaks {
            true => Err(Failure::new(Reason::Reset)),
            false => Ok(Ok(Outcome::up())),
        }
    }

    fn add(&self, mut connection: MemoryConnection) -> Result<(), MemoryConnection> {
        let room = self.with(|state| state.open < state.max);
        if !room {
            return Err(connection);
        }
        connection.pooled = true;
        self.with(|state| {
            state.open += 1;
            state.dedicated.now -= 1;
            state.idle.push_back(connection);
        });
        Ok(())
    }
}

impl Deref for MemoryCheckout {
    type Target = MemoryConnection;

    fn deref(&self) -> &MemoryConnection {
        self.0.as_ref().expect("taken in Drop only")
    }
}

impl DerefMut for MemoryCheckout {
    fn deref_mut(&mut self) -> &mut MemoryConnection {
        self.0.as_mut().expect("taken in Drop only")
    }
}

impl Drop for MemoryCheckout {
    fn drop(&mut self) {
        let connection = self.0.take().expect("dropped once");
        let pool = connection.pool.clone();
        pool.with(|state| {
            state.checked_out.now -= 1;
            state.pending += u32::from(connection.pinged);
            state.idle.push_back(connection);
        });
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        if !self.pooled
            && let Ok(mut state) = self.pool.state.lock()
        {
            state.dedicated.now -= 1;
            state.pending += u32::from(self.pinged);
        }
    }
}
