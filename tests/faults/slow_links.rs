//! A server that is far away, and a pool that is briefly in use.

use std::time::Duration;

use tokio::time::sleep;
use tower_health::{Reason, checks};

use crate::{
    app::{
        Load, SOON, UP, assert_one_round_trip, assert_run, degraded, hold, is_served,
        postgres_pool, routed, run, warm,
    },
    fault_rows::at_once,
    support::{Mode, Postgres, judged_on_time, wait_until},
};

/// Asserts that a pool far away is saturated while all its connections are in use, and up afterwards.
async fn assert_saturated_then_up(server: &Postgres, round_trip: u64, tested: bool) {
    let context = format!("{round_trip} ms, tested {tested}");
    let (proxy, pool) = routed(server, 2, tested).await;
    let distance = Duration::from_millis(round_trip);
    proxy.set(Mode::Distant(distance)).await;
    let check = checks::postgres(pool.clone());
    assert_run(&check, UP, &context).await;
    for _ in 0..2 {
        let held = hold(&pool, 2).await;
        for _ in 0..2 {
            assert_run(&check, degraded(Reason::Saturated), &context).await;
        }
        drop(held);
        for _ in 0..4 {
            wait_until("the app is served", SOON, async || is_served(&pool).await).await;
            assert_run(&check, UP, &context).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_in_use_far_away_is_saturated_then_up() {
    let scram = Postgres::builder().password("word");
    let (trust, scram) = tokio::join!(Postgres::start(), scram.start());
    // A SCRAM login takes more round trips.
    let rows = [
        (&scram, 86, true),
        (&scram, 86, false),
        (&trust, 180, true),
        (&trust, 180, false),
    ];
    at_once(rows.map(|(server, millis, tested)| assert_saturated_then_up(server, millis, tested)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_returned_late_is_not_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        warm(&pool, 1).await;
        let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(0.25)");
        for millis in [450, 600] {
            let in_use = async || {
                let connection = hold(&pool, 1).await;
                let returned = async {
                    sleep(Duration::from_millis(millis)).await;
                    drop(connection);
                };
                tokio::join!(run(&check), returned).0
            };
            let is_right = |found: &_| [UP, degraded(Reason::Saturated)].contains(found);
            let found = judged_on_time(in_use, is_right).await;
            assert!(is_right(&found), "tested {tested}, {millis} ms: {found:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_at_240_ms_are_up_in_one_round_trip() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let context = format!("tested {tested}");
        let (proxy, pool) = routed(&server, 10, tested).await;
        proxy.set(Mode::Distant(Duration::from_millis(240))).await;
        let check = || checks::postgres(pool.clone());
        let first = check();
        // It does not know the distance, and opens another connection.
        assert_run(&first, UP, &context).await;
        assert_one_round_trip(&first, &proxy, 6, &context).await;
        // Six are idle; four are in use, at random times.
        let load = Load::start(&pool, 4, "SELECT pg_sleep(random() / 5)");
        load.until_served(4).await;
        for _ in 0..4 {
            let check = check();
            for _ in 0..2 {
                assert_run(&check, UP, &context).await;
            }
        }
    }
}
