//! `checks::pool` on a manager that the crate does not know, on a paused clock.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bb8::{ManageConnection, Pool};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_health::{
    Check, Health, Reason,
    checks::{self, CheckoutTest, ConnectTimeoutManager, PingFuture, PoolCheck},
    report::PoolStats,
};

use crate::app::{Answer, UP, answer, degraded, down, hold, pool, warm};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A broker in this process.
#[derive(Clone, Default)]
struct Broker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    refuses: bool,
    /// How long a connect and a test take.
    connect: Duration,
    test: Duration,
    /// Connections before this one fail their test.
    first_valid: u32,
    made: u32,
}

impl Broker {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

impl ManageConnection for Broker {
    type Connection = u32;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<u32> {
        sleep(self.with(|state| state.connect)).await;
        self.with(|state| {
            state.made += u32::from(!state.refuses);
            match state.refuses {
                true => Err(io::ErrorKind::ConnectionRefused.into()),
                false => Ok(state.made),
            }
        })
    }

    async fn is_valid(&self, number: &mut u32) -> io::Result<()> {
        sleep(self.with(|state| state.test)).await;
        match *number < self.with(|state| state.first_valid) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    fn has_broken(&self, _: &mut u32) -> bool {
        false
    }
}

/// A check whose ping always succeeds.
fn check_of<M: ManageConnection>(pool: &Pool<M>) -> PoolCheck<M> {
    fn answers<C, E: Send + 'static>(_: &mut C) -> PingFuture<'_, E> {
        Box::pin(async { Ok(()) })
    }
    checks::pool(pool.clone(), answers)
}

fn resets(_: &mut u32) -> PingFuture<'_, io::Error> {
    Box::pin(async { Err(io::ErrorKind::ConnectionReset.into()) })
}

/// One run; on a paused clock only the check itself takes time.
async fn run(check: &impl Check) -> Answer {
    let result = timeout(SECOND, check.check()).await;
    answer(&result.expect("a run ends by its deadline"))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_and_its_end_is_up() {
    let broker = Broker::default();
    let check = check_of(&pool(broker.clone(), 2, true));
    assert_eq!(check.kind(), Some("pool"));
    broker.with(|state| state.refuses = true);
    assert_eq!(run(&check).await, down(Reason::Refused));
    broker.with(|state| state.refuses = false);
    assert_eq!(run(&check).await, UP);
    let made = broker.with(|state| state.made);
    assert_eq!(made, 1, "it is given to the pool");
}

#[tokio::test(start_paused = true)]
async fn connections_that_fail_their_test_do_not_make_a_storm() {
    let broker = Broker::default();
    broker.with(|state| state.first_valid = u32::MAX);
    let check = checks::pool(pool(broker.clone(), 2, true), resets);
    for number in 1..=3 {
        assert_eq!(run(&check).await, down(Reason::Reset));
        tokio::task::yield_now().await;
        assert!(broker.with(|state| state.made) <= 3 * number);
    }
    let check = check.classify_errors(|_| Reason::Busy);
    assert_eq!(run(&check).await, down(Reason::Busy));
}

#[tokio::test(start_paused = true)]
async fn a_stated_test_makes_the_apps_checkouts_evidence() {
    let saturated = degraded(Reason::Saturated);
    for (tests, stated, expected) in [
        (true, Some(CheckoutTest::ServerAnswered), UP),
        (true, Some(CheckoutTest::Counted), UP),
        (true, None, saturated),
        (false, Some(CheckoutTest::ServerAnswered), saturated),
    ] {
        let pool = pool(Broker::default(), 2, tests);
        let mut app = JoinSet::new();
        for _ in 0..6 {
            let pool = pool.clone();
            app.spawn(async move {
                loop {
                    let connection = pool.get().await.unwrap();
                    sleep(Duration::from_millis(20)).await;
                    drop(connection);
                }
            });
        }
        sleep(Duration::from_millis(100)).await;
        let mut check = check_of(&pool);
        if let Some(test) = stated {
            check = check.checkout_test(test);
        }
        assert_eq!(run(&check).await, expected, "{tests} {stated:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_result_has_the_statistics_of_its_pool() {
    let closed = Broker::default();
    closed.with(|state| state.refuses = true);
    let saturated = degraded(Reason::Saturated);
    for (broker, size, expected, stats) in [
        (closed, 7, down(Reason::Refused), PoolStats::new(7, 0, 0)),
        (Broker::default(), 4, UP, PoolStats::new(4, 2, 1)),
        (Broker::default(), 2, saturated, PoolStats::new(2, 2, 1)),
    ] {
        let pool = pool(broker, size, true);
        let held = hold(&pool, stats.open).await.pop();
        let check = check_of(&pool).degraded_above(0.25);
        let report = Health::builder().check("broker", check).build();
        let report = report.report().await;
        let entry = report.entry("broker").unwrap();
        assert_eq!((entry.status, entry.reason), expected);
        assert_eq!(entry.pool(), Some(stats));
        drop(held);
    }
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_limits_connects_and_not_tests() {
    let broker = Broker::default();
    let limited = |limit: Option<Duration>| {
        let manager = ConnectTimeoutManager::new(broker.clone());
        pool(
            limit.map_or(manager.clone(), |limit| manager.connect_timeout(limit)),
            1,
            true,
        )
    };
    // The default is 2 s.
    for (millis, is_open) in [(1_900, true), (2_100, false)] {
        broker.with(|state| state.connect = Duration::from_millis(millis));
        broker.with(|state| state.test = 5 * SECOND);
        let pool = limited(None);
        let opened = timeout(20 * SECOND, pool.get());
        assert_eq!(opened.await.is_ok(), is_open, "{millis}");
    }
    broker.with(|state| (state.connect, state.test) = (HOUR, Duration::ZERO));
    let pool = limited(Some(SECOND / 10));
    assert_eq!(run(&check_of(&pool)).await, down(Reason::Timeout));
    broker.with(|state| state.connect = Duration::ZERO);
    // Without the limit the pool would wait for 30 s.
    assert!(timeout(5 * SECOND, pool.get()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_does_not_block_the_pool() {
    let broker = Broker::default();
    let pool = pool(broker.clone(), 2, true);
    let check = check_of(&pool);
    broker.with(|state| state.connect = HOUR);
    assert_eq!(run(&check).await, down(Reason::Timeout));
    broker.with(|state| state.connect = Duration::ZERO);
    assert_eq!(run(&check).await, UP);
    warm(&pool, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_of_2300_ms_counts_once_it_has_ended() {
    for (limit, open, in_use, expected) in [
        (HOUR, 0, 0, UP),
        (5 * SECOND, 0, 0, UP),
        (HOUR, 2, 0, UP),
        (HOUR, 2, 2, degraded(Reason::Saturated)),
    ] {
        let broker = Broker::default();
        let manager = ConnectTimeoutManager::new(broker.clone()).connect_timeout(limit);
        let pool = pool(manager, 2, true);
        warm(&pool, open).await;
        let _held = hold(&pool, in_use).await;
        // Those that are idle break, as in a restart.
        broker.with(|state| (state.first_valid, state.connect) = (open + 1, 23 * SECOND / 10));
        let check = check_of(&pool);
        let began = Instant::now();
        while run(&check).await != expected {
            assert!(began.elapsed() < 3 * SECOND, "{limit:?} {open} {in_use}");
        }
        for _ in 0..3 {
            assert_eq!(run(&check).await, expected, "{limit:?} {open} {in_use}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_dropped_at_any_time_leaks_no_connection() {
    let broker = Broker::default();
    let pool = pool(broker.clone(), 2, true);
    let check = check_of(&pool);
    for connect in [Duration::ZERO, HOUR] {
        broker.with(|state| state.connect = connect);
        for after in 0..200 {
            let _ = timeout(Duration::from_millis(after * 4), check.check()).await;
        }
    }
    broker.with(|state| state.connect = Duration::ZERO);
    assert_eq!(run(&check).await, UP);
    warm(&pool, 2).await;
    let state = pool.state();
    assert_eq!((state.connections, state.idle_connections), (2, 2));
}
