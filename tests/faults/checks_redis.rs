//! What `checks::redis` costs, and what its options prove.

use bb8_redis::redis::cmd;
use tokio::time::timeout;
use tower_health::{Check, Reason, checks};

use crate::{
    app::{
        SOON, UP, assert_one_round_trip, assert_run, command, degraded, down, redis_pool, run,
        served, warm,
    },
    support::{Proxy, Redis, unused_port, wait_until},
};

/// A check on a new pool.
fn on(url: &str) -> impl Check + use<> {
    checks::redis(redis_pool(url.to_owned(), 2, true))
}

#[tokio::test]
async fn a_healthy_pool_costs_one_round_trip_and_no_connection() {
    let server = Redis::start().await;
    for tested in [true, false] {
        let context = format!("tested {tested}");
        let proxy = Proxy::start(server.port()).await;
        let pool = redis_pool(server.url_through(proxy.port()), 2, tested);
        warm(&pool, 1).await;
        let check = checks::redis(pool);
        assert_one_round_trip(&check, &proxy, &context).await;
    }
}

#[tokio::test]
async fn a_failed_login_has_its_reason_and_no_secret() {
    let server = Redis::builder().password("right").start().await;
    let port = server.port();
    for (url, reason) in [
        (format!("redis://:secret@127.0.0.1:{port}/"), Reason::Auth),
        (
            format!("redis://secret:right@127.0.0.1:{port}/"),
            Reason::Auth,
        ),
        (format!("redis://127.0.0.1:{port}/"), Reason::Auth),
        (
            format!("redis://:right@127.0.0.1:{port}/999"),
            Reason::NotFound,
        ),
        (
            format!("redis://127.0.0.1:{}/", unused_port()),
            Reason::Refused,
        ),
        ("redis+unix:///no/such/socket".to_owned(), Reason::Refused),
    ] {
        let check = on(&url);
        for _ in 0..2 {
            assert_run(&check, down(reason), &url).await;
        }
        let failure = check.check().await.unwrap_err();
        let shown = format!("{failure} {failure:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("127.0.0.1"),
            "{shown}"
        );
    }
    // If the resolver does not answer either, the check cannot tell that from a silent server.
    let found = run(&on("redis://no-such-host.invalid/")).await;
    let allowed = [down(Reason::Dns), down(Reason::Timeout)];
    assert!(allowed.contains(&found), "{found:?}");
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_loading() {
    let server = Redis::builder()
        .arg("--enable-debug-command", "yes")
        .arg("--key-load-delay", "10000")
        .arg("--loading-process-events-interval-bytes", "1024")
        .start()
        .await;
    let check = checks::redis(server.pool(2));
    assert_run(&check, UP, "before").await;
    command(&server, "DEBUG POPULATE 3000 key 2000").await;
    let mut connection = server.connection().await;
    let reload =
        tokio::spawn(async move { cmd("DEBUG").arg("RELOAD").exec_async(&mut connection).await });
    let mut other = server.connection().await;
    wait_until("it loads", SOON, async || {
        let ping = cmd("PING").exec_async(&mut other).await;
        ping.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    for _ in 0..2 {
        assert_run(&check, down(Reason::Loading), "loading").await;
    }
    command(&server, "CONFIG SET key-load-delay 0").await;
    let _ = timeout(SOON, reload).await.unwrap().unwrap();
    assert_run(&check, UP, "after").await;
}

#[tokio::test]
async fn a_write_is_proven_by_reading_it_back() {
    let server = Redis::start().await;
    let plain = checks::redis(server.pool(2));
    let writes = checks::redis(server.pool(2)).write_and_read_back();
    assert_run(&writes, UP, "writes").await;
    let keys = cmd("DBSIZE")
        .query_async(&mut server.connection().await)
        .await;
    assert_eq!(keys, Ok(0), "nothing is left");
    let replica = format!("REPLICAOF 127.0.0.1 {}", unused_port());
    let rejected = down(Reason::Rejected);
    let read_only = down(Reason::ReadOnly);
    for (fault, recovery, expected) in [
        (
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
            read_only,
        ),
        (&replica, "REPLICAOF NO ONE", read_only),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            read_only,
        ),
        (
            "ACL SETUSER default -set",
            "ACL SETUSER default +set",
            rejected,
        ),
    ] {
        command(&server, fault).await;
        assert_run(&plain, UP, fault).await;
        assert_run(&writes, expected, fault).await;
        command(&server, recovery).await;
        assert_run(&writes, UP, recovery).await;
    }
}

#[tokio::test]
async fn a_required_role_is_proven() {
    let server = Redis::start().await;
    let primary = checks::redis(server.pool(1)).primary();
    let replica = checks::redis(server.pool(1)).replica();
    assert_run(&primary, UP, "primary").await;
    assert_run(&replica, down(Reason::Mismatch), "primary").await;
    command(&server, &format!("REPLICAOF 127.0.0.1 {}", unused_port())).await;
    assert_run(&primary, down(Reason::ReadOnly), "replica").await;
    assert_run(&replica, UP, "replica").await;
}

#[tokio::test]
async fn a_queue_is_judged_by_its_depth() {
    let server = Redis::start().await;
    let check = checks::redis(server.pool(1))
        .queue_depth("jobs", 2, 4)
        .queue_depth("mail", 1, 2);
    let behind = degraded(Reason::Behind);
    for expected in [UP, UP, behind, behind, down(Reason::Behind)] {
        assert_run(&check, expected, "jobs").await;
        command(&server, "RPUSH jobs x").await;
    }
    command(&server, "DEL jobs").await;
    command(&server, "SET jobs text").await;
    assert_run(&check, down(Reason::Mismatch), "not a list").await;
}

#[tokio::test]
async fn memory_near_its_limit_is_degraded() {
    let server = Redis::start().await;
    let check = checks::redis(server.pool(1)).max_memory_usage(0.9);
    let exhausted = degraded(Reason::Exhausted);
    for (limit, expected) in [("0", UP), ("1gb", UP), ("1000", exhausted)] {
        command(&server, &format!("CONFIG SET maxmemory {limit}")).await;
        assert_run(&check, expected, limit).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_ping_is_degraded_where_the_pool_does_not_test() {
    let ping = "user default on nopass ~* &* +@all -ping";
    let server = Redis::builder().config_line(ping).start().await;
    command(&server, "RPUSH queue 1 2 3").await;
    let pool = redis_pool(server.url(), 3, false);
    warm(&pool, 3).await;
    let rejected = degraded(Reason::Rejected);
    assert_run(&checks::redis(pool.clone()), rejected, "plain").await;
    assert!(served(&pool).await > 0);
    // What the check requires in addition to the ping is proven, and fails.
    let replica = checks::redis(pool.clone()).replica();
    assert_run(&replica, down(Reason::Mismatch), "replica").await;
    let queue = checks::redis(pool.clone()).queue_depth("queue", 1, 2);
    assert_run(&queue, down(Reason::Behind), "queue").await;
    let write = checks::redis(pool.clone()).write_and_read_back();
    assert_run(&write, rejected, "write").await;
    command(&server, "CONFIG SET maxmemory 1").await;
    assert_run(&write, down(Reason::ReadOnly), "write").await;
}
