//! What `checks::postgres` costs, and what its options prove.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_postgres::{
    Config,
    config::{SslMode, TargetSessionAttrs},
};
use tower_health::{
    Check, CheckResult, Health, Reason,
    checks::{self, PostgresCheck},
    report::PoolStats,
};

use crate::{
    app::{
        Answer, Load, PostgresManager, SOON, UP, answer, assert_run, degraded, down, hold,
        password_server, postgres_pool, run, warm,
    },
    support::{Mode, Postgres, Proxy, judged_on_time, unused_port, wait_until},
};

type Pool = bb8::Pool<PostgresManager>;

/// A check on a new pool.
fn on(config: Config) -> PostgresCheck<PostgresManager> {
    checks::postgres(postgres_pool(config, 2, true))
}

fn local(port: u16) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres");
    config
}

async fn serves(pool: &Pool) {
    let connection = hold(pool, 1).await.remove(0);
    let answer = timeout(SOON, connection.query_one("SELECT 1", &[])).await;
    answer.unwrap().unwrap();
}

#[tokio::test]
async fn a_healthy_pool_costs_one_round_trip_and_no_connection() {
    let server = Postgres::start().await;
    for (tested, round_trip) in [(true, 0), (false, 0), (true, 260), (false, 260)] {
        let context = format!("tested {tested}, {round_trip} ms");
        let proxy = Proxy::start(server.port()).await;
        let pool = postgres_pool(server.config_through(proxy.port()), 2, tested);
        serves(&pool).await;
        proxy
            .set(Mode::Distant(Duration::from_millis(round_trip)))
            .await;
        let check = checks::postgres(pool);
        // The first run from afar does not know the distance.
        assert_run(&check, UP, &context).await;
        for _ in 0..4 {
            // On a late machine a run may open a connection.
            wait_until(&context, SOON, async || {
                let before = (proxy.round_trips(), proxy.connections());
                let found = run(&check).await;
                let trips = proxy.round_trips() - before.0;
                let made = proxy.connections() - before.1;
                println!("{context}: {found:?}, {trips} round trips, {made} connections");
                (found, trips, made) == (UP, 1, 0)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_failed_login_has_its_reason_and_no_secret() {
    let mut server = password_server("right").await;
    let wrong = |change: fn(&mut Config) -> &mut Config| {
        let mut config = server.config();
        change(&mut config);
        on(config)
    };
    let rows = [
        (wrong(|config| config.password("wrong")), Reason::Auth),
        (wrong(|config| config.user("secret_user")), Reason::Auth),
        (
            wrong(|config| config.dbname("secret_database")),
            Reason::NotFound,
        ),
        (
            wrong(|config| config.ssl_mode(SslMode::Require)),
            Reason::Tls,
        ),
        // A primary where a read-only server is required.
        (
            wrong(|config| config.target_session_attrs(TargetSessionAttrs::ReadOnly)),
            Reason::Mismatch,
        ),
        (on(local(server.port())), Reason::Auth),
        (on(local(unused_port())), Reason::Refused),
    ];
    for (number, (check, reason)) in rows.iter().enumerate() {
        for _ in 0..2 {
            let is_right = |result: &CheckResult| answer(result) == down(*reason);
            let result = judged_on_time(async || check.check().await, is_right).await;
            assert!(is_right(&result), "row {number}: {result:?}");
            // The error of the server names user and database.
            let shown = format!("{0} {0:?}", result.unwrap_err());
            assert!(!shown.contains("secret"), "row {number}: {shown}");
        }
    }
    server.kill();
    assert_run(&rows[0].0, down(Reason::Refused), "killed").await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_dns() {
    let mut config = Config::new();
    config.host("no-such-host.invalid").user("postgres");
    // If the resolver does not answer either, the check cannot tell that from a silent server.
    let found = run(&on(config)).await;
    let allowed = [down(Reason::Dns), down(Reason::Timeout)];
    assert!(allowed.contains(&found), "{found:?}");
}

#[tokio::test]
async fn a_port_of_another_protocol_is_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    assert_run(&on(local(port)), down(Reason::Protocol), "HTTP").await;
}

#[tokio::test]
async fn a_smart_shutdown_is_loading_for_a_cold_pool() {
    let mut server = Postgres::start().await;
    let last = server.client().await;
    let check = on(server.config());
    server.stop_smart().await;
    assert_run(&check, down(Reason::Loading), "stopping").await;
    drop(last);
    server.wait_for_end().await;
    assert_run(&check, down(Reason::Refused), "stopped").await;
    server.restart().await;
    assert_run(&check, UP, "restarted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_closed_by_the_server_are_up() {
    let server = Postgres::builder()
        .setting("idle_session_timeout", "300ms")
        .start()
        .await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 3, tested);
        let held = hold(&pool, 3).await;
        // Held, so that the pool does not notice.
        wait_until("the server closes them", SOON, async || {
            held.iter().all(|client| client.is_closed())
        })
        .await;
        drop(held);
        assert_run(&checks::postgres(pool.clone()), UP, "closed").await;
        serves(&pool).await;
    }
}

#[tokio::test]
async fn a_connect_that_hangs_does_not_block_the_pool() {
    let server = Postgres::start().await;
    let proxy = Proxy::start(server.port()).await;
    let pool = server.pool_through(proxy.port(), 3);
    proxy.set(Mode::Stall).await;
    let check = checks::postgres(pool.clone());
    assert_run(&check, down(Reason::Timeout), "silent").await;
    // The connect that hangs never ends; a new one works.
    proxy.set(Mode::StallExisting).await;
    assert_run(&check, UP, "first run").await;
    serves(&pool).await;
}

#[tokio::test]
async fn silent_connections_are_stuck_and_never_replaced() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let proxy = Proxy::start(server.port()).await;
        let pool = postgres_pool(server.config_through(proxy.port()), 2, tested);
        warm(&pool, 2).await;
        proxy.set(Mode::StallExisting).await;
        let check = checks::postgres(pool);
        let before = proxy.connections();
        for _ in 0..3 {
            let context = format!("tested {tested}");
            assert_run(&check, down(Reason::PoolStuck), &context).await;
        }
        assert_eq!(proxy.connections() - before, 1, "one login, then pings");
    }
}

#[tokio::test]
async fn a_slow_query_is_ended_by_the_server() {
    let server = Postgres::start().await;
    let observer = server.client().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(60)");
        assert_eq!(run(&check).await, down(Reason::Timeout));
        serves(&pool).await;
        // The query of a dropped run ends, too.
        let dropped = timeout(Duration::from_millis(100), check.check()).await;
        assert!(dropped.is_err());
        serves(&pool).await;
        wait_until("the server has ended it", SOON, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity \
                       WHERE query LIKE '%pg_sleep(60)' AND state = 'active'";
            let row = observer.query_one(sql, &[]).await.unwrap();
            row.get::<_, i64>(0) == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_query_is_compared_with_its_expected_value() {
    let server = Postgres::start().await;
    let pool = server.pool(1);
    for (sql, value, expected) in [
        ("SELECT 1", None, UP),
        ("SELECT 'yes'", Some("yes"), UP),
        ("SELECT 'no'", Some("yes"), down(Reason::Mismatch)),
        ("SELECT NULL", Some("yes"), down(Reason::Mismatch)),
        ("SELECT 1 WHERE false", Some("1"), down(Reason::Mismatch)),
        ("SELECT * FROM no_such_table", None, down(Reason::NotFound)),
        ("SELEKT", None, down(Reason::Rejected)),
    ] {
        let mut check = checks::postgres(pool.clone()).query(sql);
        if let Some(value) = value {
            check = check.expect_value(value);
        }
        assert_run(&check, expected, sql).await;
    }
    // A failed transaction of the app cannot run the query.
    let failed = hold(&pool, 1).await[0]
        .batch_execute("BEGIN; SELECT 1/0")
        .await;
    assert!(failed.is_err());
    let check = checks::postgres(pool)
        .query("SELECT 'yes'")
        .expect_value("yes");
    assert_run(&check, degraded(Reason::Rejected), "failed transaction").await;
}

#[tokio::test]
async fn a_required_role_is_proven() {
    let (primary, replica) = tokio::join!(Postgres::start(), Postgres::builder().standby().start());
    let on = |server: &Postgres| checks::postgres(server.pool(1));
    let mut read_only = primary.config();
    read_only.options("-c default_transaction_read_only=on");
    for (check, expected, context) in [
        (on(&primary).read_write(), UP, "primary, read_write"),
        (
            on(&primary).replica(),
            down(Reason::Mismatch),
            "primary, replica",
        ),
        (on(&replica), UP, "replica"),
        (on(&replica).replica(), UP, "replica, replica"),
        (
            on(&replica).read_write(),
            down(Reason::ReadOnly),
            "replica, read_write",
        ),
        (
            self::on(read_only).read_write(),
            down(Reason::ReadOnly),
            "read-only default",
        ),
    ] {
        assert_run(&check, expected, context).await;
    }
}

/// Answer and pool statistics as a report shows them.
async fn reported(check: impl Check) -> (Answer, Option<PoolStats>) {
    let health = Health::builder().check("database", check).build();
    let report = health.report().await;
    let entry = report.entry("database").unwrap();
    ((entry.status, entry.reason), entry.pool())
}

#[tokio::test]
async fn every_result_has_the_statistics_of_its_pool() {
    let server = Postgres::start().await;
    let pool = server.pool(4);
    warm(&pool, 2).await;
    let share = || checks::postgres(pool.clone()).degraded_above(0.25);
    let held = hold(&pool, 1).await;
    let expected = (UP, Some(PoolStats::new(4, 2, 1)));
    let found = judged_on_time(async || reported(share()).await, |found| *found == expected).await;
    assert_eq!(found, expected);
    let more = hold(&pool, 1).await;
    let found = judged_on_time(
        async || reported(share()).await.0,
        |found| *found == degraded(Reason::Saturated),
    )
    .await;
    assert_eq!(found, degraded(Reason::Saturated));
    drop((held, more));
    let closed = postgres_pool(local(unused_port()), 7, true);
    let found = reported(checks::postgres(closed)).await;
    assert_eq!(
        found,
        (down(Reason::Refused), Some(PoolStats::new(7, 0, 0)))
    );
}

#[tokio::test]
async fn a_pool_under_load_is_up_or_saturated() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 2, tested);
        let _load = Load::start(&pool, 8, "SELECT pg_sleep(0.01)");
        wait_until("all connections are in use", SOON, async || {
            pool.state().connections == 2 && pool.state().idle_connections == 0
        })
        .await;
        let check = checks::postgres(pool.clone());
        let allowed = [UP, degraded(Reason::Saturated)];
        for _ in 0..5 {
            let found = judged_on_time(async || run(&check).await, |one| allowed.contains(one));
            let found = found.await;
            assert!(allowed.contains(&found), "tested {tested}: {found:?}");
        }
    }
}
