//! Passwords, users, rights and slots that change under a pool.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_postgres::{Client, NoTls};
use tower_health::{Reason, Status, checks};

use crate::{
    app::{
        Load, PostgresManager, SOON, UP, assert_run, command, degraded, down, hold,
        password_server, postgres_pool, redis_pool, run, served, warm,
    },
    support::{Postgres, Redis, judged_on_time, wait_until},
};

const SIZE: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_restarted_with_another_password_is_down() {
    tokio::join!(
        restart_with_another_password(true),
        restart_with_another_password(false)
    );
}

async fn restart_with_another_password(tested: bool) {
    let context = format!("tested {tested}");
    let server = Redis::builder().password("old").start().await;
    let port = server.port();
    let pool = redis_pool(server.url(), SIZE, tested);
    warm(&pool, SIZE).await;
    let check = checks::redis(pool.clone());
    assert_run(&check, UP, &context).await;
    drop(server);
    let _server = Redis::builder().password("new").port(port).start().await;
    for _ in 0..3 {
        assert_run(&check, down(Reason::Auth), &context).await;
    }
    assert_eq!(served(&pool).await, 0, "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_user_is_deleted_is_down() {
    tokio::join!(delete_the_user(true), delete_the_user(false));
}

async fn delete_the_user(tested: bool) {
    let context = format!("tested {tested}");
    let server = Redis::builder()
        .config_line("user app on >word ~* &* +@all")
        .start()
        .await;
    let url = format!("redis://app:word@127.0.0.1:{}/", server.port());
    let pool = redis_pool(url, SIZE, tested);
    warm(&pool, SIZE).await;
    let check = checks::redis(pool.clone());
    assert_run(&check, UP, &context).await;
    command(&server, "ACL DELUSER app").await;
    for _ in 0..3 {
        assert_run(&check, down(Reason::Auth), &context).await;
    }
    assert_eq!(served(&pool).await, 0, "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_down_with_a_closed_checkout() {
    tokio::join!(change_the_password(true), change_the_password(false));
}

async fn change_the_password(tested: bool) {
    let context = format!("tested {tested}");
    let server = password_server("old").await;
    let observer = server.client().await;
    let pool = postgres_pool(server.config(), 2, tested);
    warm(&pool, 2).await;
    let check = checks::postgres(pool.clone());
    assert_run(&check, UP, &context).await;
    let held = hold(&pool, 1).await;
    let sql = "ALTER ROLE postgres PASSWORD 'new'; \
                   SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    observer.batch_execute(sql).await.unwrap();
    wait_until("the checkout is closed", SOON, async || held[0].is_closed()).await;
    for _ in 0..3 {
        assert_run(&check, down(Reason::Auth), &context).await;
    }
    assert_eq!(served(&pool).await, 0, "{context}");
}

/// A server of few slots, a pool that holds two, and other clients that hold all other slots.
async fn full_server(
    size: u32,
    tested: bool,
) -> (Postgres, bb8::Pool<PostgresManager>, Vec<Client>) {
    let server = Postgres::builder()
        .setting("max_connections", "5")
        .setting("superuser_reserved_connections", "0")
        .start()
        .await;
    let pool = postgres_pool(server.config(), size, tested);
    warm(&pool, 2).await;
    let mut others = Vec::new();
    while let Ok((client, connection)) = server.config().connect(NoTls).await {
        tokio::spawn(connection);
        others.push(client);
    }
    (server, pool, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_down_for_a_cold_pool_only() {
    let (server, pool, others) = full_server(3, true).await;
    let cold = checks::postgres(server.pool(2));
    assert_run(&cold, down(Reason::Exhausted), "cold").await;
    let warm = checks::postgres(pool.clone());
    assert_run(&warm, UP, "warm").await;
    // With both in use the pool needs a third.
    let held = hold(&pool, 2).await;
    assert_run(&warm, down(Reason::Exhausted), "in use").await;
    drop((held, others));
    wait_until("slots are free", SOON, async || run(&cold).await == UP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_backends_on_a_full_server_are_down() {
    tokio::join!(stop_the_backends(true), stop_the_backends(false));
}

async fn stop_the_backends(tested: bool) {
    let context = format!("tested {tested}");
    let (_server, pool, _others) = full_server(2, tested).await;
    let check = checks::postgres(pool.clone());
    assert_run(&check, UP, &context).await;
    let mut backends = Vec::new();
    for connection in hold(&pool, 2).await {
        let row = connection.query_one("SELECT pg_backend_pid()", &[]).await;
        backends.push(Pid::from_raw(row.unwrap().get(0)));
    }
    for backend in &backends {
        kill(*backend, Signal::SIGSTOP).unwrap();
    }
    for _ in 0..3 {
        assert_run(&check, down(Reason::Exhausted), &context).await;
    }
    assert_eq!(served(&pool).await, 0, "{context}");
    for backend in &backends {
        kill(*backend, Signal::SIGCONT).unwrap();
    }
    wait_until(&context, SOON, async || run(&check).await == UP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_on_a_full_server_is_not_down() {
    // The counters of a pool that does not test prove nothing: it is down, a stated limit.
    let (_server, pool, _others) = full_server(2, true).await;
    let check = checks::postgres(pool.clone());
    let load = Load::start(&pool, 6, "SELECT pg_sleep(0.05)");
    for _ in 0..8 {
        load.until_served(6).await;
        let found = judged_on_time(async || run(&check).await, |one| one.0 != Status::Down).await;
        assert_ne!(found.0, Status::Down, "{found:?}");
    }
}

/// A Redis whose users may run every command but `PING`.
async fn without_ping() -> Redis {
    Redis::builder()
        .config_line("user default on nopass ~* &* +@all -ping")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_ping_is_down_where_the_pool_tests_with_it() {
    let server = without_ping().await;
    let pool = redis_pool(server.url(), SIZE, true);
    let check = checks::redis(pool.clone());
    for _ in 0..3 {
        assert_run(&check, down(Reason::Rejected), "tested").await;
    }
    assert_eq!(served(&pool).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_ping_is_degraded_where_the_pool_does_not_test() {
    let server = without_ping().await;
    command(&server, "RPUSH queue 1 2 3").await;
    let pool = redis_pool(server.url(), SIZE, false);
    warm(&pool, SIZE).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn roles_do_not_need_the_functions_for_lag() {
    let server = Postgres::start().await;
    let sql = "CREATE ROLE app LOGIN; \
               REVOKE EXECUTE ON FUNCTION pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
               pg_last_xact_replay_timestamp() FROM PUBLIC";
    server.client().await.batch_execute(sql).await.unwrap();
    let mut config = server.config();
    config.user("app");
    let pool = postgres_pool(config, 1, true);
    let primary = checks::postgres(pool.clone()).read_write();
    assert_run(&primary, UP, "read_write").await;
    let replica = checks::postgres(pool).replica();
    assert_run(&replica, down(Reason::Mismatch), "replica").await;
}
