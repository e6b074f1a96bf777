//! `checks::pool` on a manager that the crate does not know, on a paused clock.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bb8::{ManageConnection, Pool};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_health::{
    Check, Reason,
    checks::{self, CheckoutTest, ConnectTimeoutManager, PingFuture},
};

use crate::app::{Answer, UP, answer, degraded, down, hold, pool};

/// A broker in this process, and its faults.
#[derive(Clone, Default)]
struct Broker {
    refuses: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    rejects: Arc<AtomicBool>,
    made: Arc<AtomicU32>,
}

impl ManageConnection for Broker {
    type Connection = u32;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<u32> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.refuses.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(self.made.fetch_add(1, Ordering::SeqCst))
    }

    async fn is_valid(&self, _: &mut u32) -> io::Result<()> {
        match self.rejects.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    fn has_broken(&self, _: &mut u32) -> bool {
        false
    }
}

fn answers<E: Send + 'static>(_: &mut u32) -> PingFuture<'_, E> {
    Box::pin(async { Ok(()) })
}

fn resets(_: &mut u32) -> PingFuture<'_, io::Error> {
    Box::pin(async { Err(io::ErrorKind::ConnectionReset.into()) })
}

/// One run; on a paused clock only the check itself takes time.
async fn run(check: &impl Check) -> Answer {
    let result = timeout(Duration::from_secs(1), check.check()).await;
    answer(&result.expect("a run ends by its deadline"))
}

#[tokio::test(start_paused = true)]
async fn what_the_manager_reports_is_the_result() {
    let broker = Broker::default();
    let check = checks::pool(pool(broker.clone(), 2, true), answers);
    assert_eq!(check.kind(), Some("pool"));
    broker.refuses.store(true, Ordering::SeqCst);
    assert_eq!(run(&check).await, down(Reason::Refused));
    broker.refuses.store(false, Ordering::SeqCst);
    assert_eq!(run(&check).await, UP);
    assert_eq!(
        broker.made.load(Ordering::SeqCst),
        1,
        "it is given to the pool"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_does_not_block_the_pool() {
    let broker = Broker::default();
    let pool = pool(broker.clone(), 2, true);
    let check = checks::pool(pool.clone(), answers);
    broker.hangs.store(true, Ordering::SeqCst);
    assert_eq!(run(&check).await, down(Reason::Timeout));
    broker.hangs.store(false, Ordering::SeqCst);
    assert_eq!(run(&check).await, UP);
    hold(&pool, 1).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_fail_their_test_do_not_make_a_storm() {
    let broker = Broker::default();
    broker.rejects.store(true, Ordering::SeqCst);
    let check = checks::pool(pool(broker.clone(), 2, true), resets);
    for _ in 0..3 {
        let before = broker.made.load(Ordering::SeqCst);
        assert_eq!(run(&check).await, down(Reason::Reset));
        tokio::task::yield_now().await;
        assert!(broker.made.load(Ordering::SeqCst) - before <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn all_connections_in_use_is_saturated() {
    let pool = pool(Broker::default(), 2, true);
    let check = checks::pool(pool.clone(), answers);
    let held = hold(&pool, 2).await;
    assert_eq!(run(&check).await, degraded(Reason::Saturated));
    drop(held);
    assert_eq!(run(&check).await, UP);
    assert_eq!(pool.state().connections, 2);
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
        let mut check = checks::pool(pool, answers);
        if let Some(test) = stated {
            check = check.checkout_test(test);
        }
        assert_eq!(run(&check).await, expected, "{tests} {stated:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_fails_has_the_reason_of_classify_errors() {
    let check = checks::pool(pool(Broker::default(), 2, false), resets);
    let check = check.classify_errors(|_| Reason::Busy);
    assert_eq!(run(&check).await, down(Reason::Busy));
}

#[tokio::test(start_paused = true)]
async fn a_connect_timeout_ends_a_connect_that_hangs() {
    let broker = Broker::default();
    broker.hangs.store(true, Ordering::SeqCst);
    let manager = ConnectTimeoutManager::new(broker.clone());
    let pool = pool(manager.connect_timeout(Duration::from_millis(100)), 1, true);
    let check = checks::pool(pool.clone(), answers);
    assert_eq!(run(&check).await, down(Reason::Timeout));
    broker.hangs.store(false, Ordering::SeqCst);
    // Without the limit the pool would wait for 30 s.
    assert!(timeout(Duration::from_secs(5), pool.get()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_dropped_at_any_time_leaks_no_connection() {
    let broker = Broker::default();
    let pool: Pool<Broker> = pool(broker.clone(), 2, true);
    let check = checks::pool(pool.clone(), answers);
    for hangs in [false, true] {
        broker.hangs.store(hangs, Ordering::SeqCst);
        for after in 0..200 {
            let _ = timeout(Duration::from_millis(after * 4), check.check()).await;
        }
    }
    broker.hangs.store(false, Ordering::SeqCst);
    assert_eq!(run(&check).await, UP);
    drop(hold(&pool, 2).await);
    let state = pool.state();
    assert_eq!((state.connections, state.idle_connections), (2, 2));
}
