//! Runs on a pool in memory whose steps answer, fail or hang: the limits that hold by construction.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
    gather::{PoolOptions, run},
    lanes::Lanes,
};
use crate::{
    check::{CheckResult, Outcome},
    report::{Failure, Reason, Status},
};

const TIMEOUT: Duration = Duration::from_millis(800);

/// How a step of the server goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Answers(Duration),
    Hangs,
    Refuses,
}

/// What became of all connections, and how the server behaves.
struct World {
    max: u32,
    open: u32,
    idle: VecDeque<Connection>,
    connects: Step,
    pings: Step,
    next: u32,
    /// Open outside the pool, and the most at any time.
    beside: (u32, u32),
    checked_out: (u32, u32),
    /// Connections that went back or were closed with a ping unanswered.
    pending: u32,
    served: u64,
    /// Proofs that break their connection before one succeeds. `None`: the check requires no proof.
    broken_proofs: Option<u32>,
}

#[derive(Clone)]
struct Memory {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
    test: CheckoutTest,
}

struct Connection {
    /// Sent and not answered.
    pinged: bool,
    pool: Memory,
    pooled: bool,
}

struct Checkout(Option<Connection>);

impl Memory {
    fn new(max: u32, idle: u32, test: CheckoutTest) -> Self {
        let pool = Self {
            world: Arc::new(Mutex::new(World {
                max,
                open: 0,
                idle: VecDeque::new(),
                connects: Step::Answers(Duration::from_millis(5)),
                pings: Step::Answers(Duration::from_millis(1)),
                next: 0,
                beside: (0, 0),
                checked_out: (0, 0),
                pending: 0,
                served: 0,
                broken_proofs: None,
            })),
            changed: Arc::new(Notify::new()),
            test,
        };
        for _ in 0..idle {
            let connection = pool.connection(true);
            pool.with(|world| {
                world.open += 1;
                world.idle.push_back(connection);
            });
        }
        pool
    }

    fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world.lock().expect("no panic under it"));
        self.changed.notify_waiters();
        result
    }

    fn connection(&self, pooled: bool) -> Connection {
        self.with(|world| {
            world.next += 1;
            world.beside.0 += u32::from(!pooled);
            world.beside.1 = world.beside.1.max(world.beside.0);
        });
        Connection {
            pinged: false,
            pool: self.clone(),
            pooled,
        }
    }

    /// Waits until the step is one that ends, and for its time.
    async fn step(&self, read: impl Fn(&World) -> Step) -> Result<(), Failure> {
        loop {
            let changed = self.changed.notified();
            let step = read(&self.world.lock().expect("no panic under it"));
            match step {
                Step::Answers(after) => {
                    sleep(after).await;
                    return Ok(());
                }
                Step::Refuses => return Err(Failure::new(Reason::Refused)),
                Step::Hangs => changed.await,
            }
        }
    }

    async fn ask(&self, connection: &mut Connection) -> Result<(), Failure> {
        connection.pinged = true;
        let answered = self.step(|world| world.pings).await;
        connection.pinged = false;
        answered
    }
}

impl ConnectionPool for Memory {
    type Connection = Connection;
    type Checkout = Checkout;

    async fn check_out(&self) -> Result<Checkout, Option<Failure>> {
        loop {
            let changed = self.changed.notified();
            let idle = self
                .world
                .lock()
                .expect("no panic under it")
                .idle
                .pop_front();
            let connection = match idle {
                Some(connection) => connection,
                None if self.with(|world| {
                    let room = world.open < world.max;
                    world.open += u32::from(room);
                    room
                }) =>
                {
                    let connected = self.step(|world| world.connects).await;
                    if connected.is_err() {
                        self.with(|world| world.open -= 1);
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
            self.with(|world| {
                world.checked_out.0 += 1;
                world.checked_out.1 = world.checked_out.1.max(world.checked_out.0);
            });
            let mut checkout = Checkout(Some(connection));
            if self.test == CheckoutTest::AsksServer && self.ask(&mut checkout).await.is_err() {
                continue;
            }
            self.with(|world| world.served += 1);
            return Ok(checkout);
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        // Open from its first packet on.
        let connection = self.connection(false);
        self.step(|world| world.connects).await?;
        Ok(connection)
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), PingError> {
        self.ask(connection).await.map_err(PingError::Broken)
    }

    fn counters(&self) -> PoolCounters {
        let world = self.world.lock().expect("no panic under it");
        PoolCounters {
            max: world.max,
            open: world.open,
            idle: u32::try_from(world.idle.len()).expect("few"),
            invalid: 0,
            served: Some(world.served),
            waited: Duration::ZERO,
        }
    }

    fn checkout_test(&self) -> CheckoutTest {
        self.test
    }

    fn has_proof(&self) -> bool {
        self.with(|world| world.broken_proofs.is_some())
    }

    async fn prove(&self, _: &mut Connection, _: Instant) -> Result<CheckResult, Failure> {
        let breaks = self.with(|world| {
            let left = world.broken_proofs.unwrap_or_default();
            world.broken_proofs = Some(left.saturating_sub(1));
            left > 0
        });
        match breaks {
            true => Err(Failure::new(Reason::Reset)),
            false => Ok(Ok(Outcome::up())),
        }
    }

    fn add(&self, mut connection: Connection) -> Result<(), Connection> {
        let room = self.with(|world| world.open < world.max);
        if !room {
            return Err(connection);
        }
        connection.pooled = true;
        self.with(|world| {
            world.open += 1;
            world.beside.0 -= 1;
            world.idle.push_back(connection);
        });
        Ok(())
    }
}

impl Deref for Checkout {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0.as_ref().expect("taken in Drop only")
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut Connection {
        self.0.as_mut().expect("taken in Drop only")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let connection = self.0.take().expect("dropped once");
        let pool = connection.pool.clone();
        pool.with(|world| {
            world.checked_out.0 -= 1;
            world.pending += u32::from(connection.pinged);
            world.idle.push_back(connection);
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.pooled
            && let Ok(mut world) = self.pool.world.lock()
        {
            world.beside.0 -= 1;
            world.pending += u32::from(self.pinged);
        }
    }
}

fn found(result: &CheckResult) -> (Status, Option<Reason>) {
    match result {
        Ok(outcome) => (outcome.status(), outcome.reason()),
        Err(failure) => (Status::Down, Some(failure.reason())),
    }
}

async fn once(lanes: &Arc<Lanes<Memory>>) -> (Status, Option<Reason>) {
    let deadline = Instant::now() + TIMEOUT;
    let result = timeout_at(deadline, run(lanes, PoolOptions::default(), deadline)).await;
    found(&result.expect("a run ends before its deadline"))
}

/// Eight callers whose runs are cut off at various times, while the server's steps change.
async fn cut_off(test: CheckoutTest, idle: u32) -> Memory {
    let pool = Memory::new(4, idle, test);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    let callers: Vec<_> = (0..8_u64)
        .map(|caller| {
            let lanes = lanes.clone();
            tokio::spawn(async move {
                for number in 0..60_u64 {
                    let after = Duration::from_millis(1 + (caller * 37 + number * 61) % 900);
                    let deadline = Instant::now() + TIMEOUT;
                    let _ = timeout(after, run(&lanes, PoolOptions::default(), deadline)).await;
                }
            })
        })
        .collect();
    let answers = Step::Answers(Duration::from_millis(3));
    let slow = Step::Answers(Duration::from_millis(300));
    for (connects, pings) in [
        (answers, Step::Hangs),
        (Step::Hangs, Step::Hangs),
        (Step::Refuses, answers),
        (slow, slow),
        (answers, Step::Refuses),
        (Step::Hangs, answers),
        (answers, answers),
    ] {
        pool.with(|world| (world.connects, world.pings) = (connects, pings));
        sleep(Duration::from_secs(3)).await;
    }
    for caller in callers {
        caller.await.expect("does not panic");
    }
    pool
}

#[tokio::test(start_paused = true)]
async fn runs_cut_off_keep_the_limits_on_connections() {
    for test in [CheckoutTest::AsksServer, CheckoutTest::None] {
        for idle in [0, 4] {
            let pool = cut_off(test, idle).await;
            pool.with(|world| {
                assert!(
                    world.beside.1 <= 1,
                    "{test:?} {idle}: {} beside",
                    world.beside.1
                );
                assert!(
                    world.checked_out.1 <= 2,
                    "{test:?} {idle}: {}",
                    world.checked_out.1
                );
                assert_eq!(world.pending, 0, "{test:?} {idle}");
            });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_pool_is_pinged_once_and_nothing_is_opened() {
    for test in [CheckoutTest::AsksServer, CheckoutTest::None] {
        let pool = Memory::new(4, 2, test);
        let lanes = Arc::new(Lanes::new(pool.clone()));
        for _ in 0..5 {
            assert_eq!(once(&lanes).await, (Status::Up, None));
        }
        pool.with(|world| assert_eq!((world.next, world.beside.1), (2, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_not_queued_at() {
    let pool = Memory::new(2, 2, CheckoutTest::AsksServer);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    let held = (pool.check_out().await.ok(), pool.check_out().await.ok());
    pool.with(|world| world.checked_out = (0, 0));
    for _ in 0..3 {
        assert_eq!(
            once(&lanes).await,
            (Status::Degraded, Some(Reason::Saturated))
        );
    }
    pool.with(|world| {
        assert_eq!(world.checked_out.1, 0, "the check took none");
        assert_eq!(world.beside.1, 1, "one connection, kept and used again");
        world.checked_out.0 = 2;
    });
    drop(held);
    assert_eq!(once(&lanes).await, (Status::Up, None));
    pool.with(|world| assert_eq!(world.beside.0, 0, "a run that is up closes it"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_before_is_not_evidence() {
    let pool = Memory::new(2, 2, CheckoutTest::None);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|world| world.pings = Step::Hangs);
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
    // The server answers between two runs, and is silent again.
    pool.with(|world| world.pings = Step::Answers(Duration::ZERO));
    sleep(Duration::from_millis(100)).await;
    pool.with(|world| (world.pings, world.connects) = (Step::Hangs, Step::Hangs));
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn a_younger_checkout_is_joined() {
    let pool = Memory::new(2, 2, CheckoutTest::AsksServer);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|world| world.pings = Step::Answers(Duration::from_millis(100)));
    for _ in 0..20 {
        let (one, two) = tokio::join!(once(&lanes), once(&lanes));
        assert_eq!((one.0, two.0), (Status::Up, Status::Up));
    }
    pool.with(|world| assert_eq!(world.checked_out.1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_its_proof_proves_nothing() {
    let pool = Memory::new(2, 2, CheckoutTest::AsksServer);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|world| world.broken_proofs = Some(1));
    assert_eq!(once(&lanes).await, (Status::Up, None));
    pool.with(|world| world.broken_proofs = Some(u32::MAX));
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Reset)));
}

#[test]
fn a_checkout_on_a_runtime_that_stopped_is_superseded() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
    };
    let pool = Memory::new(4, 4, CheckoutTest::AsksServer);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|world| (world.pings, world.connects) = (Step::Hangs, Step::Hangs));
    // Alive and not driven from here on, with a checkout and a login that hang.
    let stopped = runtime();
    let down = (Status::Down, Some(Reason::Timeout));
    assert_eq!(stopped.block_on(once(&lanes)), down);
    let answers = Step::Answers(Duration::from_millis(1));
    pool.with(|world| (world.pings, world.connects) = (answers, answers));
    runtime().block_on(async {
        let limit = Instant::now() + Duration::from_secs(20);
        while once(&lanes).await != (Status::Up, None) {
            assert!(Instant::now() < limit, "the old checkout still counts");
            sleep(Duration::from_millis(50)).await;
        }
    });
    drop(stopped);
}

#[tokio::test(start_paused = true)]
async fn two_runs_at_once_use_one_checkout() {
    let pool = Memory::new(4, 4, CheckoutTest::AsksServer);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    let held: Vec<_> = [pool.check_out().await, pool.check_out().await].into();
    let others: Vec<_> = [pool.check_out().await, pool.check_out().await].into();
    pool.with(|world| {
        world.checked_out = (0, 0);
        world.pings = Step::Answers(Duration::from_millis(50));
    });
    let runs = async { tokio::join!(once(&lanes), once(&lanes)) };
    let free = async {
        sleep(Duration::from_millis(50)).await;
        pool.with(|world| world.checked_out.0 = 2);
        drop(held);
    };
    let (found, ()) = tokio::join!(runs, free);
    assert_eq!((found.0.0, found.1.0), (Status::Up, Status::Up));
    pool.with(|world| assert_eq!(world.checked_out.1, 1));
    pool.with(|world| world.checked_out.0 = 2);
    drop(others);
}
