//! What `checks::redis` costs, and what its options prove.

use std::time::Duration;

use crate::answer::{UP, degraded, down, look};
use crate::support::{Proxy, Redis, unused_port, wait_until};
use bb8_redis::{RedisConnectionManager, redis::cmd};
use tokio::time::timeout;
use tower_health::{Check, Reason, checks};

const SOON: Duration = Duration::from_secs(20);

async fn say(server: &Redis, words: &[&str]) {
    cmd(words[0])
        .arg(&words[1..])
        .exec_async(&mut server.connection().await)
        .await
        .unwrap();
}

fn on(url: &str) -> checks::RedisCheck {
    let manager = RedisConnectionManager::new(url).unwrap();
    checks::redis(bb8::Pool::builder().max_size(2).build_unchecked(manager))
}

#[tokio::test]
async fn a_healthy_pool_costs_one_round_trip_and_no_connection() {
    let server = Redis::start().await;
    for tested in [true, false] {
        let proxy = Proxy::start(server.port()).await;
        let manager = RedisConnectionManager::new(server.url_through(proxy.port())).unwrap();
        let pool = bb8::Pool::builder()
            .max_size(2)
            .test_on_check_out(tested)
            .build_unchecked(manager);
        cmd("CLIENT")
            .arg("ID")
            .exec_async(&mut *pool.get().await.unwrap())
            .await
            .unwrap();
        let check = checks::redis(pool);
        let (trips, connections) = (proxy.round_trips(), proxy.connections());
        for _ in 0..5 {
            assert_eq!(look(&check).await, UP);
        }
        assert_eq!(proxy.round_trips() - trips, 5, "tested: {tested}");
        assert_eq!(proxy.connections(), connections, "tested: {tested}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_login_says_why() {
    let server = Redis::builder().password("right").start().await;
    let port = server.port();
    for (url, reason) in [
        (format!("redis://:wrong@127.0.0.1:{port}/"), Reason::Auth),
        (
            format!("redis://somebody:right@127.0.0.1:{port}/"),
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
            assert_eq!(look(&check).await, down(reason), "{url}");
        }
    }
    let verdict = look(&on("redis://no-such-host.invalid/")).await;
    // A resolver that is silent shows from the outside only: as a timeout.
    assert!(
        [down(Reason::Dns), down(Reason::Timeout)].contains(&verdict),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn a_full_server_is_down_for_a_cold_pool_and_not_for_a_warm_one() {
    let server = Redis::builder().arg("--maxclients", "2").start().await;
    let pool = server.pool(1);
    cmd("PING")
        .exec_async(&mut *pool.get().await.unwrap())
        .await
        .unwrap();
    let other = server.connection().await;
    let cold = on(&server.url());
    assert_eq!(look(&cold).await, down(Reason::Reset));
    assert_eq!(look(&checks::redis(pool)).await, UP);
    drop(other);
    wait_until("a slot is free", SOON, async || look(&cold).await == UP).await;
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_loading() {
    let server = Redis::builder()
        .arg("--enable-debug-command", "yes")
        .arg("--key-load-delay", "10000")
        .arg("--loading-process-events-interval-bytes", "1024")
        .arg("--appendonly", "no")
        .start()
        .await;
    let check = checks::redis(server.pool(2));
    assert_eq!(look(&check).await, UP);
    say(&server, &["DEBUG", "POPULATE", "3000", "key", "2000"]).await;
    let mut connection = server.connection().await;
    connection.set_response_timeout(SOON);
    let reload = tokio::spawn(async move {
        let _: Result<(), _> = cmd("DEBUG").arg("RELOAD").exec_async(&mut connection).await;
    });
    let mut other = server.connection().await;
    wait_until("it loads", SOON, async || {
        cmd("PING")
            .exec_async(&mut other)
            .await
            .is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    for _ in 0..2 {
        assert_eq!(look(&check).await, down(Reason::Loading));
    }
    say(&server, &["CONFIG", "SET", "key-load-delay", "0"]).await;
    timeout(SOON, reload).await.unwrap().unwrap();
    assert_eq!(look(&check).await, UP);
}

#[tokio::test]
async fn a_write_is_proven_by_reading_it_back() {
    let server = Redis::start().await;
    let plain = checks::redis(server.pool(2));
    let writes = checks::redis(server.pool(2)).write_and_read_back();
    assert_eq!(look(&writes).await, UP);
    let mut connection = server.connection().await;
    let keys: u64 = cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(keys, 0, "nothing is left behind");
    assert_eq!(server.command_calls("set").await, 1);
    // Both take reads only.
    say(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(look(&plain).await, UP);
    assert_eq!(look(&writes).await, down(Reason::ReadOnly));
    say(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(look(&writes).await, UP);
    say(
        &server,
        &["REPLICAOF", "127.0.0.1", &unused_port().to_string()],
    )
    .await;
    assert_eq!(look(&plain).await, UP);
    assert_eq!(look(&writes).await, down(Reason::ReadOnly));
    say(&server, &["REPLICAOF", "NO", "ONE"]).await;
    say(&server, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    assert_eq!(look(&writes).await, down(Reason::ReadOnly));
    say(&server, &["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    say(&server, &["ACL", "SETUSER", "default", "-set"]).await;
    assert_eq!(look(&writes).await, down(Reason::Rejected));
}

#[tokio::test]
async fn a_required_role_is_proven() {
    let server = Redis::start().await;
    let primary = checks::redis(server.pool(1)).primary();
    let replica = checks::redis(server.pool(1)).replica();
    assert_eq!(look(&primary).await, UP);
    assert_eq!(look(&replica).await, down(Reason::Mismatch));
    say(
        &server,
        &["REPLICAOF", "127.0.0.1", &unused_port().to_string()],
    )
    .await;
    assert_eq!(look(&primary).await, down(Reason::ReadOnly));
    assert_eq!(look(&replica).await, UP);
}

#[tokio::test]
async fn a_queue_is_judged_by_its_depth() {
    let server = Redis::start().await;
    let check = checks::redis(server.pool(1))
        .queue_depth("jobs", 2, 4)
        .queue_depth("mail", 1, 2);
    let mut verdicts = Vec::new();
    for _ in 0..5 {
        verdicts.push(look(&check).await);
        say(&server, &["RPUSH", "jobs", "x"]).await;
    }
    let behind = degraded(Reason::Behind);
    assert_eq!(verdicts, [UP, UP, behind, behind, down(Reason::Behind)]);
    say(&server, &["DEL", "jobs"]).await;
    say(&server, &["SET", "jobs", "no list"]).await;
    assert_eq!(look(&check).await, down(Reason::Mismatch));
}

#[tokio::test]
async fn memory_near_its_limit_is_degraded() {
    let server = Redis::start().await;
    let check = checks::redis(server.pool(1)).max_memory_usage(0.9);
    assert_eq!(look(&check).await, UP);
    say(&server, &["CONFIG", "SET", "maxmemory", "1gb"]).await;
    assert_eq!(look(&check).await, UP);
    say(&server, &["CONFIG", "SET", "maxmemory", "1000"]).await;
    assert_eq!(look(&check).await, degraded(Reason::Exhausted));
}

#[tokio::test]
async fn no_secret_and_no_address_is_in_a_message() {
    let server = Redis::builder().password("hunter2").start().await;
    let url = format!("redis://:hunter3@127.0.0.1:{}/", server.port());
    let failure = on(&url).check().await.unwrap_err();
    let shown = format!("{failure} {failure:?}");
    assert!(
        !shown.contains("hunter") && !shown.contains("127.0.0.1"),
        "{shown}"
    );
}

#[tokio::test]
async fn broken_connections_are_stuck_until_repaired() {
    let mut server = Redis::start().await;
    let manager = RedisConnectionManager::new(server.url()).unwrap();
    let pool = bb8::Pool::builder()
        .max_size(6)
        .test_on_check_out(false)
        .build_unchecked(manager);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(pool.get().await.unwrap());
    }
    drop(held);
    let check = checks::redis(pool.clone());
    assert_eq!(look(&check).await, UP);
    server.restart().await;
    // The app gets nothing but errors.
    for _ in 0..2 {
        assert_eq!(look(&check).await, down(Reason::PoolStuck));
        let mut connection = pool.get().await.unwrap();
        assert!(cmd("PING").exec_async(&mut *connection).await.is_err());
    }
    let check = checks::redis(pool.clone()).repair_pool();
    wait_until("all are replaced", SOON, async || look(&check).await == UP).await;
    for _ in 0..12 {
        let mut connection = pool.get().await.unwrap();
        cmd("PING").exec_async(&mut *connection).await.unwrap();
    }
}
