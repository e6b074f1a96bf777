//! What `checks::postgres` costs, and what its options prove.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_postgres::{
    Config, NoTls,
    config::{SslMode, TargetSessionAttrs},
};
use tower_health::{
    Check, CheckResult, Health, Reason, Status,
    checks::{self, PostgresCheck},
    report::PoolStats,
};

use crate::{
    app::{
        Load, PostgresManager, SOON, UP, answer, assert_one_round_trip, assert_run, degraded, down,
        hold, password_server, postgres_pool, run, warm,
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
        assert_one_round_trip(&check, &proxy, &context).await;
    }
}

#[tokio::test]
async fn a_failed_login_has_its_reason_and_no_secret() {
    let server = password_server("right").await;
    type Change = fn(&mut Config) -> &mut Config;
    let changes: [(Change, Reason); 5] = [
        (|config| config.password("wrong"), Reason::Auth),
        (|config| config.user("secret_user"), Reason::Auth),
        (|config| config.dbname("secret_database"), Reason::NotFound),
        (|config| config.ssl_mode(SslMode::Require), Reason::Tls),
        // A primary where a read-only server is required.
        (
            |config| config.target_session_attrs(TargetSessionAttrs::ReadOnly),
            Reason::Mismatch,
        ),
    ];
    let mut rows = vec![
        (on(local(server.port())), Reason::Auth),
        (on(local(unused_port())), Reason::Refused),
    ];
    for (change, reason) in changes {
        let mut config = server.config();
        change(&mut config);
        rows.push((on(config), reason));
    }
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
}

#[tokio::test]
async fn no_address_is_dns_and_no_postgres_is_protocol() {
    let mut config = Config::new();
    config.host("no-such-host.invalid").user("postgres");
    // If the resolver does not answer either, the check cannot tell that from a silent server.
    let found = run(&on(config)).await;
    let allowed = [down(Reason::Dns), down(Reason::Timeout)];
    assert!(allowed.contains(&found), "{found:?}");

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

#[tokio::test]
async fn every_result_has_the_statistics_of_its_pool() {
    let server = Postgres::start().await;
    let pool = server.pool(4);
    warm(&pool, 2).await;
    let closed = postgres_pool(local(unused_port()), 7, true);
    let mut held = Vec::new();
    let small = server.pool(2);
    warm(&small, 2).await;
    for (pool, in_use, expected, stats) in [
        (&closed, 0, down(Reason::Refused), PoolStats::new(7, 0, 0)),
        (&pool, 1, UP, PoolStats::new(4, 2, 1)),
        (
            &small,
            1,
            degraded(Reason::Saturated),
            PoolStats::new(2, 2, 1),
        ),
    ] {
        held.extend(hold(pool, in_use).await);
        let reported = async || {
            let check = checks::postgres(pool.clone()).degraded_above(0.25);
            let health = Health::builder().check("database", check).build();
            let report = health.report().await;
            let entry = report.entry("database").unwrap();
            ((entry.status, entry.reason), entry.pool())
        };
        let expected = (expected, Some(stats));
        let found = judged_on_time(reported, |found| *found == expected).await;
        assert_eq!(found, expected);
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_on_a_full_server_is_not_down() {
    // The counters of a pool that does not test prove nothing: it is down, a stated limit.
    let server = Postgres::builder()
        .setting("max_connections", "5")
        .setting("superuser_reserved_connections", "0")
        .start()
        .await;
    let pool = server.pool(2);
    warm(&pool, 2).await;
    let mut others = Vec::new();
    while let Ok((client, connection)) = server.config().connect(NoTls).await {
        tokio::spawn(connection);
        others.push(client);
    }
    let check = checks::postgres(pool.clone());
    let load = Load::start(&pool, 6, "SELECT pg_sleep(0.05)");
    for _ in 0..8 {
        load.until_served(6).await;
        let found = judged_on_time(async || run(&check).await, |one| one.0 != Status::Down).await;
        assert_ne!(found.0, Status::Down, "{found:?}");
    }
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
