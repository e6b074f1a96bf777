//! Runs on a pool in memory: the limits on connections hold whatever the server does.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    super::{
        connection_pool::{CheckoutTest, ConnectionPool},
        gather::{PoolOptions, run},
        lanes::Lanes,
    },
    in_memory_pool::{Behavior, Gauge, InMemoryPool, PoolState},
};
use crate::{
    check::CheckResult,
    report::{Reason, Status},
};

const TIMEOUT: Duration = Duration::from_millis(800);

fn found(result: &CheckResult) -> (Status, Option<Reason>) {
    match result {
        Ok(outcome) => (outcome.status(), outcome.reason()),
        Err(failure) => (Status::Down, Some(failure.reason())),
    }
}

async fn once(lanes: &Arc<Lanes<InMemoryPool>>) -> (Status, Option<Reason>) {
    let deadline = Instant::now() + TIMEOUT;
    let result = timeout_at(deadline, run(lanes, PoolOptions::default(), deadline)).await;
    found(&result.expect("a run ends before its deadline"))
}

/// Eight callers drop their runs at various times, while the server's behavior changes.
async fn drop_runs(test: CheckoutTest, idle: u32) -> InMemoryPool {
    let pool = InMemoryPool::new(4, idle, test);
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
    let answers = Behavior::Answers(Duration::from_millis(3));
    let slow = Behavior::Answers(Duration::from_millis(300));
    for (connects, pings) in [
        (answers, Behavior::Hangs),
        (Behavior::Hangs, Behavior::Hangs),
        (Behavior::Refuses, answers),
        (slow, slow),
        (answers, Behavior::Refuses),
        (Behavior::Hangs, answers),
        (answers, answers),
    ] {
        pool.with(|state| (state.connects, state.pings) = (connects, pings));
        sleep(Duration::from_secs(3)).await;
    }
    for caller in callers {
        caller.await.expect("does not panic");
    }
    pool
}

#[tokio::test(start_paused = true)]
async fn dropped_runs_keep_the_limits_on_connections() {
    for test in [
        CheckoutTest::ServerAnswered,
        CheckoutTest::Counted,
        CheckoutTest::None,
    ] {
        for idle in [0, 4] {
            let pool = drop_runs(test, idle).await;
            pool.with(|state| {
                assert!(
                    state.dedicated.most <= 1,
                    "{test:?} {idle}: {} dedicated",
                    state.dedicated.most
                );
                assert!(
                    state.checked_out.most <= 2,
                    "{test:?} {idle}: {}",
                    state.checked_out.most
                );
                assert_eq!(state.pending, 0, "{test:?} {idle}");
            });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_pool_needs_no_new_connection() {
    for test in [CheckoutTest::ServerAnswered, CheckoutTest::None] {
        let pool = InMemoryPool::new(4, 2, test);
        let lanes = Arc::new(Lanes::new(pool.clone()));
        for _ in 0..5 {
            assert_eq!(once(&lanes).await, (Status::Up, None));
        }
        pool.with(|state| assert_eq!((state.opened, state.dedicated.most), (2, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn checkouts_without_a_test_are_no_evidence() {
    let pool = InMemoryPool::new(4, 2, CheckoutTest::Unknown);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    assert_eq!(once(&lanes).await, (Status::Up, None));
    let app = tokio::spawn({
        let pool = pool.clone();
        async move {
            loop {
                drop(pool.check_out().await);
                sleep(Duration::from_millis(10)).await;
            }
        }
    });
    pool.with(|state| (state.connects, state.pings) = (Behavior::Hangs, Behavior::Hangs));
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
    app.abort();
}

#[tokio::test(start_paused = true)]
async fn counted_checkouts_of_a_full_pool_are_evidence() {
    for (test, expected) in [
        (CheckoutTest::Counted, (Status::Up, None)),
        (CheckoutTest::Unknown, (Status::Down, Some(Reason::Timeout))),
    ] {
        let pool = InMemoryPool::new(1, 0, test);
        let lanes = Arc::new(Lanes::new(pool.clone()));
        // New connections: the checks' own checkouts, which are not counted, must not weigh on later runs.
        for _ in 0..3 {
            assert_eq!(once(&lanes).await, (Status::Up, None));
            pool.with(PoolState::close_idle);
        }
        let held = pool.check_out().await.ok();
        pool.with(|state| state.connects = Behavior::Hangs);
        let app = async {
            sleep(Duration::from_millis(50)).await;
            drop(held);
            let next = pool.check_out().await.ok();
            sleep(TIMEOUT).await;
            drop(next);
        };
        let (found, ()) = tokio::join!(once(&lanes), app);
        assert_eq!(found, expected, "{test:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_check_pings_where_only_other_checkouts_count() {
    let pool = InMemoryPool::new(2, 0, CheckoutTest::Counted);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    // As behind a proxy, which answers a login by itself.
    pool.with(|state| state.pings = Behavior::Hangs);
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn in_a_full_pool_the_check_does_not_queue() {
    let pool = InMemoryPool::new(2, 2, CheckoutTest::ServerAnswered);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    let held = (pool.check_out().await.ok(), pool.check_out().await.ok());
    pool.with(|state| state.checked_out = Gauge::default());
    for _ in 0..3 {
        assert_eq!(
            once(&lanes).await,
            (Status::Degraded, Some(Reason::Saturated))
        );
    }
    pool.with(|state| {
        assert_eq!(state.checked_out.most, 0, "the check took none");
        assert_eq!(
            state.dedicated.most, 1,
            "one connection, kept and used again"
        );
        state.checked_out.now = 2;
    });
    drop(held);
    assert_eq!(once(&lanes).await, (Status::Up, None));
    pool.with(|state| assert_eq!(state.dedicated.now, 0, "a run that is up closes it"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_two_runs_is_not_evidence() {
    let pool = InMemoryPool::new(2, 2, CheckoutTest::None);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|state| state.pings = Behavior::Hangs);
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
    // The server answers between two runs, and hangs again.
    pool.with(|state| state.pings = Behavior::Answers(Duration::ZERO));
    sleep(Duration::from_millis(100)).await;
    pool.with(|state| (state.pings, state.connects) = (Behavior::Hangs, Behavior::Hangs));
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn concurrent_runs_join_one_checkout() {
    let pool = InMemoryPool::new(2, 2, CheckoutTest::ServerAnswered);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|state| state.pings = Behavior::Answers(Duration::from_millis(100)));
    for _ in 0..20 {
        let (one, two) = tokio::join!(once(&lanes), once(&lanes));
        assert_eq!((one.0, two.0), (Status::Up, Status::Up));
    }
    pool.with(|state| assert_eq!(state.checked_out.most, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_its_proof_is_not_evidence() {
    let pool = InMemoryPool::new(2, 2, CheckoutTest::ServerAnswered);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|state| state.broken_proofs = Some(1));
    assert_eq!(once(&lanes).await, (Status::Up, None));
    pool.with(|state| state.broken_proofs = Some(u32::MAX));
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Reset)));
    // The pool has served the check's own checkouts, and no other caller's.
    pool.with(|state| state.connects = Behavior::Hangs);
    assert_eq!(once(&lanes).await, (Status::Down, Some(Reason::Timeout)));
}

#[test]
fn a_checkout_on_a_stopped_runtime_is_superseded() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
    };
    let pool = InMemoryPool::new(4, 4, CheckoutTest::ServerAnswered);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    pool.with(|state| (state.pings, state.connects) = (Behavior::Hangs, Behavior::Hangs));
    // From here on it is alive and not driven, with a checkout and a login that hang.
    let stopped = runtime();
    let down = (Status::Down, Some(Reason::Timeout));
    assert_eq!(stopped.block_on(once(&lanes)), down);
    let answers = Behavior::Answers(Duration::from_millis(1));
    pool.with(|state| (state.pings, state.connects) = (answers, answers));
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
async fn concurrent_runs_in_a_full_pool_use_one_checkout() {
    let pool = InMemoryPool::new(4, 4, CheckoutTest::ServerAnswered);
    let lanes = Arc::new(Lanes::new(pool.clone()));
    let held: Vec<_> = [pool.check_out().await, pool.check_out().await].into();
    let others: Vec<_> = [pool.check_out().await, pool.check_out().await].into();
    pool.with(|state| {
        state.checked_out = Gauge::default();
        state.pings = Behavior::Answers(Duration::from_millis(50));
    });
    let runs = async { tokio::join!(once(&lanes), once(&lanes)) };
    let free = async {
        sleep(Duration::from_millis(50)).await;
        pool.with(|state| state.checked_out.now = 2);
        drop(held);
    };
    let (found, ()) = tokio::join!(runs, free);
    assert_eq!((found.0.0, found.1.0), (Status::Up, Status::Up));
    pool.with(|state| assert_eq!(state.checked_out.most, 1));
    pool.with(|state| state.checked_out.now = 2);
    drop(others);
}
