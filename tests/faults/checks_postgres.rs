//! What the query of `checks::postgres` proves, and what the check reports under load.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::NoTls;
use tower_health::{Dependency, Health, Reason, Status, checks};

use crate::{
    app::{
        Load, PostgresManager, RUN, SOON, UP, assert_run, assert_run_in, degraded, down, hold,
        postgres_pool, routed, run, warm,
    },
    fault_rows::{at_once, take_all_slots},
    support::{Mode, Postgres, judged_on_time, wait_until},
};

#[tokio::test]
async fn a_query_is_compared_with_its_expected_value() {
    let server = Postgres::start().await;
    let plain = checks::postgres(server.pool(1));
    for (sql, expected) in [
        ("SELECT 'yes'", UP),
        ("SELECT 'no'", down(Reason::Mismatch)),
        ("SELECT NULL", down(Reason::Mismatch)),
        ("SELECT 'yes' WHERE false", down(Reason::Mismatch)),
        ("SELECT * FROM no_such_table", down(Reason::NotFound)),
        ("SELEKT", down(Reason::Rejected)),
    ] {
        let check = plain.clone().query(sql).expect_value("yes");
        assert_run(&check, expected, sql).await;
    }
    // Any answer will do.
    assert_run(&plain.query("SELECT NULL"), UP, "no value").await;
}

#[tokio::test]
async fn a_long_query_is_ended_by_the_server_soon_after_its_run() {
    let server = Postgres::start().await;
    let observer = server.client().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 4, tested);
        warm(&pool, 4).await;
        let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(60)");
        // No connection can be made, so no query can be cancelled.
        server.freeze_postmaster();
        for limit in [RUN + SOON, Duration::from_millis(100), RUN + SOON] {
            // One that is dropped has no result.
            let found = timeout(limit, run(&check)).await;
            assert_eq!(found.ok(), (limit > RUN).then_some(down(Reason::Timeout)));
            wait_until("the query has ended", SOON, async || {
                let sql = "SELECT FROM pg_stat_activity \
                           WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()";
                observer.query(sql, &[]).await.unwrap().is_empty()
            })
            .await;
        }
        // The app has all connections.
        warm(&pool, 4).await;
        server.thaw();
    }
}

/// Five runs whose query ends about when the run does, over a round trip of 100 ms.
async fn no_query_is_killed(server: &Postgres, lane: u64) {
    // A test at checkout would take the round trip in which the harm is done.
    let (proxy, pool) = routed(server, 1, false).await;
    proxy.set(Mode::Distant(Duration::from_millis(100))).await;
    for round in 0..5 {
        // From 500 to 690 ms: the deadline is 150 ms after the checkout and half a round trip.
        let millis = 500 + 40 * round + 10 * lane;
        let sql = format!("SELECT pg_sleep({millis} / 1000.0)");
        run(&checks::postgres(pool.clone()).query(sql)).await;
        let connection = hold(&pool, 1).await.remove(0);
        let query = connection.simple_query("SELECT pg_sleep(0.3)").await;
        assert!(query.is_ok(), "{millis} ms: {query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_ends_with_its_run_kills_no_query_of_the_app() {
    let server = Postgres::start().await;
    at_once((0..4).map(|lane| no_query_is_killed(&server, lane))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handles_with_one_check_get_no_false_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 4, tested);
        warm(&pool, 4).await;
        let check = checks::postgres(pool).query("SELECT 1");
        let dependency = Dependency::new("db", check).cache_for(Duration::ZERO);
        let one = Health::builder().add(dependency.clone()).build();
        let two = Health::builder().add(dependency).build();
        for round in 0..300 {
            let reports = async || {
                let (one, two) = tokio::join!(one.report(), two.report());
                [one.status, two.status]
            };
            let is_right = |found: &[Status; 2]| !found.contains(&Status::Down);
            let found = judged_on_time(reports, is_right).await;
            assert!(
                is_right(&found),
                "tested {tested}, round {round}: {found:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_is_not_down_even_on_a_full_server() {
    let server = Postgres::builder()
        .setting("max_connections", "5")
        .setting("superuser_reserved_connections", "0")
        .start()
        .await;
    let saturated = degraded(Reason::Saturated);
    let exhausted = degraded(Reason::Exhausted);
    for (tested, full, allowed) in [
        (false, false, [UP, saturated]),
        (true, false, [UP, saturated]),
        // The counters of a pool that does not test prove nothing: it would be down, a stated limit.
        (true, true, [UP, exhausted]),
    ] {
        let pool = postgres_pool(server.config(), 2, tested);
        warm(&pool, 2).await;
        let manager = PostgresManager::new(server.config(), NoTls);
        let _taken = match full {
            true => take_all_slots(manager).await,
            false => Vec::new(),
        };
        let load = Load::start(&pool, 6, "SELECT pg_sleep(0.05)");
        let check = checks::postgres(pool);
        for _ in 0..6 {
            load.until_served(6).await;
            let context = format!("tested {tested}, full {full}");
            assert_run_in(&check, &allowed, &context).await;
        }
    }
}
