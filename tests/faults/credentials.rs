//! Passwords, users, rights and slots that change under a pool.

use std::fmt::Debug;

use bb8_redis::{RedisConnectionManager, redis::cmd};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_postgres::{Client, NoTls};
use tower_health::{Reason, Status, checks};

use crate::{
    answer::{Answer, UP, degraded, down},
    app::{
        Load, PostgresManager, SOON, hold, is_served, postgres_pool, redis_is_served, run, warm,
    },
    support::{Postgres, Redis, judged_on_time, wait_until},
};

const SIZE: u32 = 3;

type RedisPool = bb8::Pool<RedisConnectionManager>;

/// The answer `expected`, or another that was found on time.
async fn finds<T: Debug + PartialEq>(judge: impl AsyncFnMut() -> T, expected: T, context: &str) {
    let found = judged_on_time(judge, |found| *found == expected).await;
    assert_eq!(found, expected, "{context}");
}

fn redis_pool(url: String, tested: bool) -> RedisPool {
    bb8::Pool::builder()
        .max_size(SIZE)
        .test_on_check_out(tested)
        .build_unchecked(RedisConnectionManager::new(url).unwrap())
}

/// How many of five requests the app is served.
async fn redis_served(pool: &RedisPool) -> u32 {
    let mut served = 0;
    for _ in 0..5 {
        served += u32::from(redis_is_served(pool).await);
    }
    served
}

async fn say(server: &Redis, words: &[&str]) {
    let mut command = cmd(words[0]);
    command.arg(&words[1..]);
    let mut connection = server.connection().await;
    command.exec_async(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_restarted_with_another_password_is_down() {
    for tested in [false, true] {
        let context = format!("tested {tested}");
        let server = Redis::builder().password("old").start().await;
        let (port, url) = (server.port(), server.url());
        let pool = redis_pool(url, tested);
        warm(&pool, SIZE).await;
        let check = checks::redis(pool.clone());
        finds(async || run(&check).await, UP, &context).await;
        drop(server);
        let server = Redis::builder().password("new").port(port).start().await;
        for _ in 0..3 {
            finds(async || run(&check).await, down(Reason::Auth), &context).await;
        }
        assert_eq!(redis_served(&pool).await, 0, "{context}");
        drop(server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_user_is_deleted_is_down() {
    for tested in [false, true] {
        let context = format!("tested {tested}");
        let server = Redis::builder()
            .config_line("user app on >word ~* &* +@all")
            .start()
            .await;
        let url = format!("redis://app:word@127.0.0.1:{}/", server.port());
        let pool = redis_pool(url, tested);
        warm(&pool, SIZE).await;
        let check = checks::redis(pool.clone());
        finds(async || run(&check).await, UP, &context).await;
        say(&server, &["ACL", "DELUSER", "app"]).await;
        for _ in 0..3 {
            finds(async || run(&check).await, down(Reason::Auth), &context).await;
        }
        assert_eq!(redis_served(&pool).await, 0, "{context}");
    }
}

/// How many of five requests the app is served.
async fn postgres_served(pool: &bb8::Pool<PostgresManager>) -> u32 {
    let mut served = 0;
    for _ in 0..5 {
        served += u32::from(is_served(pool).await);
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_down_beside_a_dead_checkout() {
    for tested in [true, false] {
        let context = format!("tested {tested}");
        let server = Postgres::builder().password("old").start().await;
        let observer = server.client().await;
        let pool = postgres_pool(server.config(), 2, tested);
        warm(&pool, 2).await;
        let check = checks::postgres(pool.clone());
        finds(async || run(&check).await, UP, &context).await;
        let held = hold(&pool, 1).await;
        let sql = "ALTER ROLE postgres PASSWORD 'new'; \
                   SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        observer.batch_execute(sql).await.unwrap();
        wait_until("the checkout is dead", SOON, async || held[0].is_closed()).await;
        for _ in 0..3 {
            finds(async || run(&check).await, down(Reason::Auth), &context).await;
        }
        assert_eq!(postgres_served(&pool).await, 0, "{context}");
    }
}

/// A server of few slots, a pool of two, and others that hold all that is left.
async fn full_server(tested: bool) -> (Postgres, bb8::Pool<PostgresManager>, Vec<Client>) {
    let server = Postgres::builder()
        .setting("max_connections", "5")
        .setting("superuser_reserved_connections", "0")
        .start()
        .await;
    let pool = postgres_pool(server.config(), 2, tested);
    warm(&pool, 2).await;
    let mut others = Vec::new();
    while let Ok((client, connection)) = server.config().connect(NoTls).await {
        tokio::spawn(connection);
        others.push(client);
    }
    (server, pool, others)
}

/// The backends that serve a pool.
async fn backends(pool: &bb8::Pool<PostgresManager>) -> Vec<Pid> {
    let mut pids = Vec::new();
    for connection in hold(pool, 2).await {
        let row = connection.query_one("SELECT pg_backend_pid()", &[]).await;
        pids.push(Pid::from_raw(row.unwrap().get(0)));
    }
    pids
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_backends_on_a_full_server_are_down() {
    for tested in [true, false] {
        let context = format!("tested {tested}");
        let (_server, pool, _others) = full_server(tested).await;
        let check = checks::postgres(pool.clone());
        finds(async || run(&check).await, UP, &context).await;
        let backends = backends(&pool).await;
        for backend in &backends {
            kill(*backend, Signal::SIGSTOP).unwrap();
        }
        for _ in 0..3 {
            finds(
                async || run(&check).await,
                down(Reason::Exhausted),
                &context,
            )
            .await;
        }
        assert_eq!(postgres_served(&pool).await, 0, "{context}");
        for backend in &backends {
            kill(*backend, Signal::SIGCONT).unwrap();
        }
        wait_until(&context, SOON, async || run(&check).await == UP).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_on_a_full_server_is_not_down() {
    // Without the pool's test its counters prove nothing: such a pool is down, a stated limit.
    let tested = true;
    let (_server, pool, _others) = full_server(tested).await;
    let check = checks::postgres(pool.clone());
    let load = Load::start(&pool, 6, "SELECT pg_sleep(0.05)");
    wait_until("requests are served", SOON, async || load.served() > 6).await;
    for round in 0..8 {
        let before = load.served();
        let is_right = |found: &Answer| found.0 != Status::Down;
        let found = judged_on_time(async || run(&check).await, is_right).await;
        assert!(is_right(&found), "tested {tested}, run {round}: {found:?}");
        wait_until("requests are served", SOON, async || load.served() > before).await;
    }
}

/// A Redis whose users may do anything but ping.
async fn without_ping() -> Redis {
    Redis::builder()
        .config_line("user default on nopass ~* &* +@all -ping")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_ping_is_down_where_the_pool_tests_with_it() {
    let server = without_ping().await;
    let pool = redis_pool(server.url(), true);
    let check = checks::redis(pool.clone());
    for _ in 0..3 {
        finds(async || run(&check).await, down(Reason::Rejected), "tested").await;
    }
    assert_eq!(redis_served(&pool).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_ping_is_degraded_where_the_pool_does_not_test() {
    let server = without_ping().await;
    say(&server, &["RPUSH", "queue", "1", "2", "3"]).await;
    let pool = redis_pool(server.url(), false);
    warm(&pool, SIZE).await;
    let plain = checks::redis(pool.clone());
    finds(
        async || run(&plain).await,
        degraded(Reason::Rejected),
        "plain",
    )
    .await;
    assert_eq!(redis_served(&pool).await, 5);
    // What the check requires beyond the ping is proven, and fails.
    let replica = checks::redis(pool.clone()).replica();
    finds(
        async || run(&replica).await,
        down(Reason::Mismatch),
        "replica",
    )
    .await;
    let queue = checks::redis(pool.clone()).queue_depth("queue", 1, 2);
    finds(async || run(&queue).await, down(Reason::Behind), "queue").await;
    let write = checks::redis(pool.clone()).write_and_read_back();
    finds(
        async || run(&write).await,
        degraded(Reason::Rejected),
        "write",
    )
    .await;
    say(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    finds(async || run(&write).await, down(Reason::ReadOnly), "write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_write_does_not_need_the_functions_for_lag() {
    let server = Postgres::start().await;
    let sql = "CREATE ROLE app LOGIN; \
               REVOKE EXECUTE ON FUNCTION pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
               pg_last_xact_replay_timestamp() FROM PUBLIC";
    server.client().await.batch_execute(sql).await.unwrap();
    let mut config = server.config();
    config.user("app");
    let pool = postgres_pool(config, 1, true);
    let primary = checks::postgres(pool.clone()).read_write();
    finds(async || run(&primary).await, UP, "read_write").await;
    let replica = checks::postgres(pool.clone()).replica();
    finds(
        async || run(&replica).await,
        down(Reason::Mismatch),
        "replica",
    )
    .await;
}
