//! A pool in memory whose connects and pings answer, fail or hang.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
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
    fn increase(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }
}

/// The connections, and how the server behaves.
pub(super) struct PoolState {
    max: u32,
    open: u32,
    idle: u32,
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
        self.open -= self.idle;
        self.idle = 0;
    }
}

#[derive(Clone)]
pub(super) struct InMemoryPool {
    state: Arc<watch::Sender<PoolState>>,
    test: CheckoutTest,
}

/// A connection in use. When dropped, it returns to the pool or is closed.
pub(super) struct MemoryConnection {
    pool: InMemoryPool,
    pooled: bool,
    /// Whether a ping is sent and not answered.
    pinged: bool,
}

impl InMemoryPool {
    pub(super) fn new(max: u32, idle: u32, test: CheckoutTest) -> Self {
        let state = PoolState {
            max,
            open: idle,
            idle,
            connects: Behavior::Answers(Duration::from_millis(5)),
            pings: Behavior::Answers(Duration::from_millis(1)),
            opened: idle,
            dedicated: Gauge::default(),
            checked_out: Gauge::default(),
            pending: 0,
            served: 0,
            broken_proofs: None,
        };
        Self {
            state: Arc::new(watch::Sender::new(state)),
            test,
        }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut PoolState) -> T) -> T {
        let mut result = None;
        self.state.send_modify(|state| result = Some(change(state)));
        result.expect("the closure was called")
    }

    fn connection(&self, pooled: bool) -> MemoryConnection {
        MemoryConnection {
            pool: self.clone(),
            pooled,
            pinged: false,
        }
    }

    /// Waits until the behavior is not to hang, and then as long as the server takes.
    async fn behave(&self, read: impl Fn(&PoolState) -> Behavior) -> Result<(), Failure> {
        let mut states = self.state.subscribe();
        let found = states.wait_for(|state| read(state) != Behavior::Hangs);
        let behavior = read(&found.await.expect("the pool has the sender"));
        match behavior {
            Behavior::Answers(after) => {
                sleep(after).await;
                Ok(())
            }
            Behavior::Refuses | Behavior::Hangs => Err(Failure::new(Reason::Refused)),
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
    type Checkout = Box<MemoryConnection>;

    async fn check_out(&self) -> Result<Box<MemoryConnection>, Option<Failure>> {
        loop {
            let mut states = self.state.subscribe();
            let free = states.wait_for(|state| state.idle > 0 || state.open < state.max);
            drop(free.await);
            let is_new = self.with(|state| {
                let is_new = state.idle == 0;
                state.open += u32::from(is_new);
                state.idle -= u32::from(!is_new);
                is_new
            });
            if is_new && self.behave(|state| state.connects).await.is_err() {
                self.with(|state| state.open -= 1);
                sleep(Duration::from_millis(400)).await;
                continue;
            }
            self.with(|state| {
                state.opened += u32::from(is_new);
                state.checked_out.increase();
            });
            let mut checkout = Box::new(self.connection(true));
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
        self.with(|state| {
            state.opened += 1;
            state.dedicated.increase();
        });
        let connection = self.connection(false);
        self.behave(|state| state.connects).await?;
        Ok(connection)
    }

    async fn ping(&self, connection: &mut MemoryConnection) -> Result<(), PingError> {
        self.send_ping(connection).await.map_err(PingError::Broken)
    }

    fn counters(&self) -> PoolCounters {
        let state = self.state.borrow();
        PoolCounters::new(state.max, state.open, state.idle).served(state.served, Duration::ZERO)
    }

    fn checkout_test(&self) -> CheckoutTest {
        self.test
    }

    fn has_proof(&self) -> bool {
        self.state.borrow().broken_proofs.is_some()
    }

    async fn prove(&self, _: &mut MemoryConnection, _: Instant) -> Result<CheckResult, Failure> {
        let left = self.state.borrow().broken_proofs.unwrap_or_default();
        self.with(|state| state.broken_proofs = Some(left.saturating_sub(1)));
        match left {
            0 => Ok(Ok(Outcome::up())),
            _ => Err(Failure::new(Reason::Reset)),
        }
    }

    fn add(&self, mut connection: MemoryConnection) -> Result<(), MemoryConnection> {
        let PoolCounters { max, open, .. } = self.counters();
        if open == max {
            return Err(connection);
        }
        self.with(|state| {
            state.open += 1;
            state.dedicated.now -= 1;
            // Until it is dropped below.
            state.checked_out.now += 1;
        });
        connection.pooled = true;
        Ok(())
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.pool.with(|state| {
            state.pending += u32::from(self.pinged);
            match self.pooled {
                true => {
                    (state.idle, state.checked_out.now) =
                        (state.idle + 1, state.checked_out.now - 1)
                }
                false => state.dedicated.now -= 1,
            }
        });
    }
}
