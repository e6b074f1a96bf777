//! `checks::pool` on a manager that the crate knows nothing of.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::answer::{Answer, UP, look_within};
use bb8::ManageConnection;
use tokio::time::timeout;
use tower_health::{
    Check, Reason, Status,
    checks::{self, ConnectTimeoutManager, PingFuture},
};

fn answers<E: Send + 'static>(_: &mut u32) -> PingFuture<'_, E> {
    Box::pin(async { Ok(()) })
}

/// A broker in this process, and what is wrong with it.
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

/// On a paused clock: nothing but the check itself takes time.
async fn look(check: &impl Check) -> Answer {
    look_within(check, Duration::from_secs(1)).await
}

fn pool(broker: &Broker, tested: bool) -> bb8::Pool<Broker> {
    bb8::Pool::builder()
        .max_size(2)
        .test_on_check_out(tested)
        .build_unchecked(broker.clone())
}

#[tokio::test(start_paused = true)]
async fn what_the_manager_says_is_the_verdict() {
    let broker = Broker::default();
    let check = checks::pool(pool(&broker, true), answers);
    assert_eq!(check.kind(), Some("pool"));
    broker.refuses.store(true, Ordering::SeqCst);
    assert_eq!(look(&check).await, (Status::Down, Some(Reason::Refused)));
    broker.refuses.store(false, Ordering::SeqCst);
    assert_eq!(look(&check).await, UP);
    assert_eq!(
        broker.made.load(Ordering::SeqCst),
        1,
        "the one that told the truth serves on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_is_a_timeout_and_does_not_wedge_the_pool() {
    let broker = Broker::default();
    let pool = pool(&broker, true);
    let check = checks::pool(pool.clone(), answers);
    broker.hangs.store(true, Ordering::SeqCst);
    assert_eq!(look(&check).await, (Status::Down, Some(Reason::Timeout)));
    broker.hangs.store(false, Ordering::SeqCst);
    assert_eq!(look(&check).await, UP);
    assert!(timeout(Duration::from_secs(1), pool.get()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn connections_that_fail_their_test_do_not_make_a_storm() {
    let broker = Broker::default();
    broker.rejects.store(true, Ordering::SeqCst);
    let check = checks::pool(pool(&broker, true), |_| {
        Box::pin(async { Err(io::ErrorKind::ConnectionReset.into()) })
    });
    for _ in 0..3 {
        let before = broker.made.load(Ordering::SeqCst);
        assert_eq!(look(&check).await, (Status::Down, Some(Reason::Reset)));
        tokio::task::yield_now().await;
        assert!(broker.made.load(Ordering::SeqCst) - before <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn all_connections_in_use_is_saturated() {
    let broker = Broker::default();
    let pool = pool(&broker, true);
    let check = checks::pool(pool.clone(), answers);
    let held = (pool.get().await.unwrap(), pool.get().await.unwrap());
    assert_eq!(
        look(&check).await,
        (Status::Degraded, Some(Reason::Saturated))
    );
    drop(held);
    assert_eq!(look(&check).await, UP);
    assert_eq!(pool.state().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_test_needs_a_ping_to_prove_anything() {
    let broker = Broker::default();
    let check = checks::pool(pool(&broker, false), |_| {
        Box::pin(async { Err(io::Error::other("out of order")) })
    })
    .classify_errors(|_| Reason::Busy);
    assert_eq!(look(&check).await, (Status::Down, Some(Reason::Busy)));
}

#[tokio::test(start_paused = true)]
async fn a_guarded_connect_ends() {
    let broker = Broker::default();
    broker.hangs.store(true, Ordering::SeqCst);
    let manager =
        ConnectTimeoutManager::new(broker.clone()).connect_timeout(Duration::from_millis(100));
    let pool = bb8::Pool::builder().max_size(1).build_unchecked(manager);
    let check = checks::pool(pool.clone(), answers);
    assert_eq!(look(&check).await, (Status::Down, Some(Reason::Timeout)));
    broker.hangs.store(false, Ordering::SeqCst);
    // Nobody but the pool itself: without the guard this would wait for 30 s.
    assert!(timeout(Duration::from_secs(5), pool.get()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_anywhere_leaks_nothing() {
    let broker = Broker::default();
    let pool = pool(&broker, true);
    let check = checks::pool(pool.clone(), answers);
    for hangs in [false, true] {
        broker.hangs.store(hangs, Ordering::SeqCst);
        for after in 0..200 {
            let _ = timeout(Duration::from_millis(after * 4), check.check()).await;
        }
    }
    broker.hangs.store(false, Ordering::SeqCst);
    assert_eq!(look(&check).await, UP);
    let first = timeout(Duration::from_secs(5), pool.get())
        .await
        .unwrap()
        .unwrap();
    let second = timeout(Duration::from_secs(5), pool.get())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(pool.state().connections, 2);
    drop((first, second));
    assert_eq!(pool.state().idle_connections, 2);
}
