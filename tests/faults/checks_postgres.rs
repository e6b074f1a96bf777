//! What `checks::postgres` costs, and what its options prove.

use std::{
    future::{Ready, ready},
    io,
    time::Duration,
};

use crate::answer::{Answer, UP, answer, degraded, down, look};
use crate::support::{Mode, Postgres, Proxy, judged_on_time, unused_port, wait_until};
use bb8_postgres::PostgresConnectionManager;
use tokio::time::{Instant, timeout};
use tokio_postgres::{
    Config, NoTls, Socket,
    config::{SslMode, TargetSessionAttrs},
    tls::{MakeTlsConnect, NoTlsStream, TlsConnect},
};
use tower_health::{Check, CheckResult, Reason, Status, checks, report::PoolStats};

type Pool = bb8::Pool<PostgresConnectionManager<NoTls>>;

const SOON: Duration = Duration::from_secs(20);

async fn serves(pool: &Pool) {
    let connection = timeout(SOON, pool.get()).await.unwrap().unwrap();
    timeout(SOON, connection.query_one("SELECT 1", &[]))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_healthy_pool_costs_one_round_trip_and_no_connection() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let proxy = Proxy::start(server.port()).await;
        let manager = PostgresConnectionManager::new(server.config_through(proxy.port()), NoTls);
        let pool = bb8::Pool::builder()
            .max_size(2)
            .test_on_check_out(tested)
            .build_unchecked(manager);
        serves(&pool).await;
        let check = checks::postgres(pool.clone());
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
    let mut server = Postgres::builder().password("right").start().await;
    let wrong = |change: fn(&mut Config)| {
        let mut config = server.config();
        change(&mut config);
        let manager = PostgresConnectionManager::new(config, NoTls);
        checks::postgres(bb8::Pool::builder().build_unchecked(manager))
    };
    let password = wrong(|config| {
        config.password("wrong");
    });
    let user = wrong(|config| {
        config.user("nobody_here");
    });
    let database = wrong(|config| {
        config.dbname("no_such_database");
    });
    let tls = wrong(|config| {
        config.ssl_mode(SslMode::Require);
    });
    for (check, reason) in [
        (&password, Reason::Auth),
        (&user, Reason::Auth),
        (&database, Reason::NotFound),
        (&tls, Reason::Tls),
    ] {
        for _ in 0..2 {
            let is_right = |result: &CheckResult| answer(result) == down(reason);
            let result = judged_on_time(async || check.check().await, is_right).await;
            assert_eq!(answer(&result), down(reason));
            // What the server says names user and database.
            let shown = format!("{0} {0:?}", result.unwrap_err());
            assert!(
                !shown.contains("nobody_here") && !shown.contains("no_such_database"),
                "{shown}"
            );
        }
    }
    // The driver finds a primary where a read-only server is required.
    let attrs = wrong(|config| {
        config.target_session_attrs(TargetSessionAttrs::ReadOnly);
    });
    let is_right = |found: &Answer| *found == down(Reason::Mismatch);
    let found = judged_on_time(async || look(&attrs).await, is_right).await;
    assert_eq!(found, down(Reason::Mismatch));
    let missing = {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(server.port())
            .user("postgres");
        checks::postgres(
            bb8::Pool::builder().build_unchecked(PostgresConnectionManager::new(config, NoTls)),
        )
    };
    assert_eq!(look(&missing).await, down(Reason::Auth));
    server.kill();
    assert_eq!(look(&password).await, down(Reason::Refused));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_dns() {
    let mut config = Config::new();
    config.host("no-such-host.invalid").user("postgres");
    let manager = PostgresConnectionManager::new(config, NoTls);
    let check = checks::postgres(bb8::Pool::builder().build_unchecked(manager));
    // A resolver that is silent shows from the outside only: as a timeout.
    let verdict = look(&check).await;
    assert!(
        [down(Reason::Dns), down(Reason::Timeout)].contains(&verdict),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn a_port_of_something_else_is_protocol() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                    .await;
            });
        }
    });
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres");
    let manager = PostgresConnectionManager::new(config, NoTls);
    let check = checks::postgres(bb8::Pool::builder().build_unchecked(manager));
    assert_eq!(look(&check).await, down(Reason::Protocol));
}

#[tokio::test]
async fn a_full_server_is_down_for_a_cold_pool_and_not_for_a_warm_one() {
    let server = Postgres::builder()
        .setting("max_connections", "5")
        .setting("superuser_reserved_connections", "0")
        .start()
        .await;
    let warm = server.pool(2);
    serves(&warm).await;
    let mut others = Vec::new();
    while let Ok((client, connection)) = server.config().connect(NoTls).await {
        tokio::spawn(connection);
        others.push(client);
    }
    let cold = checks::postgres(server.pool(2));
    assert_eq!(look(&cold).await, down(Reason::Exhausted));
    let check = checks::postgres(warm.clone());
    assert_eq!(look(&check).await, UP);
    // With all of its connections in use it would need a new one.
    let held = warm.get().await.unwrap();
    assert_eq!(look(&check).await, down(Reason::Exhausted));
    drop((held, others));
    wait_until("slots are free", SOON, async || {
        server.config().connect(NoTls).await.is_ok()
    })
    .await;
    assert_eq!(look(&cold).await, UP);
}

#[tokio::test]
async fn a_server_that_is_stopping_is_loading_for_a_cold_pool() {
    let mut server = Postgres::start().await;
    let last = server.client().await;
    let check = checks::postgres(server.pool(2));
    server.stop_smart().await;
    assert_eq!(look(&check).await, down(Reason::Loading));
    drop(last);
    server.wait_for_end().await;
    assert_eq!(look(&check).await, down(Reason::Refused));
    server.restart().await;
    assert_eq!(look(&check).await, UP);
}

#[tokio::test]
async fn a_pool_wedged_by_a_connect_that_hangs_is_up_at_the_first_check_and_serves() {
    let server = Postgres::start().await;
    let proxy = Proxy::start(server.port()).await;
    let pool = server.pool_through(proxy.port(), 3);
    proxy.set(Mode::Stall).await;
    let check = checks::postgres(pool.clone());
    assert_eq!(look(&check).await, down(Reason::Timeout));
    // The connect that hangs will never end; a new one works.
    proxy.set(Mode::StallExisting).await;
    assert_eq!(look(&check).await, UP);
    serves(&pool).await;
}

#[tokio::test]
async fn silent_connections_are_stuck_and_never_replaced() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let proxy = Proxy::start(server.port()).await;
        let manager = PostgresConnectionManager::new(server.config_through(proxy.port()), NoTls);
        let pool = bb8::Pool::builder()
            .max_size(2)
            .test_on_check_out(tested)
            .build_unchecked(manager);
        drop((pool.get().await.unwrap(), pool.get().await.unwrap()));
        proxy.set(Mode::StallExisting).await;
        let check = checks::postgres(pool);
        let before = proxy.connections();
        for _ in 0..3 {
            assert_eq!(look(&check).await, down(Reason::PoolStuck), "{tested}");
        }
        assert_eq!(proxy.connections() - before, 1, "one login, then pings");
    }
}

#[tokio::test]
async fn a_slow_query_is_ended_by_the_server() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let manager = PostgresConnectionManager::new(server.config(), NoTls);
        let pool = bb8::Pool::builder()
            .max_size(1)
            .test_on_check_out(tested)
            .build_unchecked(manager);
        let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(60)");
        assert_eq!(look(&check).await, down(Reason::Timeout));
        serves_at_once(&pool).await;
        // A run that is dropped in the middle ends its query, too.
        assert!(
            timeout(Duration::from_millis(100), check.check())
                .await
                .is_err()
        );
        serves_at_once(&pool).await;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'";
        let sleeping: i64 = server
            .client()
            .await
            .query_one(sql, &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(sleeping, 0);
    }
}

/// Long before the query would have ended by itself.
async fn serves_at_once(pool: &Pool) {
    let started = Instant::now();
    serves(pool).await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_query_is_compared_with_its_expected_value() {
    let server = Postgres::start().await;
    let pool = server.pool(1);
    let check = |sql: &'static str| checks::postgres(pool.clone()).query(sql);
    for (check, expected) in [
        (check("SELECT 1"), UP),
        (check("SELECT 'yes'").expect_value("yes"), UP),
        (
            check("SELECT 'no'").expect_value("yes"),
            down(Reason::Mismatch),
        ),
        (
            check("SELECT NULL").expect_value("yes"),
            down(Reason::Mismatch),
        ),
        (
            check("SELECT 1 WHERE false").expect_value("1"),
            down(Reason::Mismatch),
        ),
        (check("SELECT * FROM no_such_table"), down(Reason::NotFound)),
        (check("SELEKT"), down(Reason::Rejected)),
    ] {
        assert_eq!(look(&check).await, expected);
    }
    // A connection that the app returned inside a failed transaction cannot run the query.
    let connection = pool.get().await.unwrap();
    connection
        .batch_execute("BEGIN; SELECT 1/0")
        .await
        .unwrap_err();
    drop(connection);
    assert_eq!(
        look(&check("SELECT 'yes'").expect_value("yes")).await,
        degraded(Reason::Rejected)
    );
}

#[tokio::test]
async fn a_required_role_is_proven() {
    let (primary, replica) = tokio::join!(Postgres::start(), Postgres::builder().standby().start());
    let on = |server: &Postgres| checks::postgres(server.pool(1));
    assert_eq!(look(&on(&primary).read_write()).await, UP);
    assert_eq!(look(&on(&primary).replica()).await, down(Reason::Mismatch));
    assert_eq!(look(&on(&replica)).await, UP);
    assert_eq!(look(&on(&replica).replica()).await, UP);
    assert_eq!(
        look(&on(&replica).read_write()).await,
        down(Reason::ReadOnly)
    );
    let mut config = primary.config();
    config.options("-c default_transaction_read_only=on");
    let manager = PostgresConnectionManager::new(config, NoTls);
    let check = checks::postgres(bb8::Pool::builder().build_unchecked(manager)).read_write();
    assert_eq!(look(&check).await, down(Reason::ReadOnly));
}

#[tokio::test]
async fn every_verdict_has_the_pool_in_numbers() {
    let server = Postgres::start().await;
    let pool = server.pool(4);
    let held = pool.get().await.unwrap();
    let check = checks::postgres(pool.clone()).degraded_above(0.25);
    let health = tower_health::Health::builder()
        .check("database", check)
        .build();
    let report = health.report().await;
    let entry = report.entry("database").unwrap();
    assert_eq!(entry.status, Status::Up);
    assert_eq!(entry.pool(), Some(PoolStats::new(4, 2, 1)));
    let more = pool.get().await.unwrap();
    let check = checks::postgres(pool.clone()).degraded_above(0.25);
    let health = tower_health::Health::builder()
        .check("database", check)
        .build();
    let report = health.report().await;
    let entry = report.entry("database").unwrap();
    assert_eq!((entry.status, entry.reason), degraded(Reason::Saturated));
    drop((held, more));
    let nobody = PostgresConnectionManager::new(
        {
            let mut config = Config::new();
            config
                .host("127.0.0.1")
                .port(unused_port())
                .user("postgres");
            config
        },
        NoTls,
    );
    let pool = bb8::Pool::builder().max_size(7).build_unchecked(nobody);
    let health = tower_health::Health::builder()
        .check("database", checks::postgres(pool))
        .build();
    let report = health.report().await;
    let entry = report.entry("database").unwrap();
    assert_eq!((entry.status, entry.reason), down(Reason::Refused));
    assert_eq!(entry.pool(), Some(PoolStats::new(7, 0, 0)));
}

#[tokio::test]
async fn an_app_that_hammers_its_pool_does_not_starve_the_verdict() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let manager = PostgresConnectionManager::new(server.config(), NoTls);
        let pool = bb8::Pool::builder()
            .max_size(2)
            .test_on_check_out(tested)
            .build_unchecked(manager);
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    loop {
                        let connection = pool.get().await.unwrap();
                        connection
                            .batch_execute("SELECT pg_sleep(0.01)")
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        wait_until("the pool is used up", SOON, async || {
            pool.state().connections == 2 && pool.state().idle_connections == 0
        })
        .await;
        let check = checks::postgres(pool.clone());
        for _ in 0..5 {
            let verdict = look(&check).await;
            assert!(
                [UP, degraded(Reason::Saturated)].contains(&verdict),
                "{verdict:?}"
            );
        }
        for worker in workers {
            worker.abort();
        }
    }
}

#[tokio::test]
async fn a_distant_server_is_up_and_costs_no_connection_with_each_check() {
    let server = Postgres::start().await;
    let proxy = Proxy::start(server.port()).await;
    let pool = server.pool_through(proxy.port(), 2);
    serves(&pool).await;
    let check = checks::postgres(pool);
    // A round trip takes longer than the third of the budget that the pool has.
    proxy.set(Mode::Delay(Duration::from_millis(130))).await;
    assert_eq!(look(&check).await, UP);
    let before = proxy.connections();
    for _ in 0..3 {
        assert_eq!(look(&check).await, UP);
    }
    assert_eq!(proxy.connections(), before);
}

/// A connector that trusts nobody.
#[derive(Clone)]
struct Distrust;

impl MakeTlsConnect<Socket> for Distrust {
    type Stream = NoTlsStream;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Self> {
        Ok(Self)
    }
}

impl TlsConnect<Socket> for Distrust {
    type Stream = NoTlsStream;
    type Error = io::Error;
    type Future = Ready<io::Result<NoTlsStream>>;

    fn connect(self, _: Socket) -> Self::Future {
        ready(Err(io::Error::other("certificate verify failed")))
    }
}

#[tokio::test]
async fn a_tls_handshake_that_fails_is_tls_with_any_connector() {
    let server = Postgres::builder()
        .tls()
        .hba("hostssl all all 127.0.0.1/32 trust")
        .start()
        .await;
    let mut config = Config::new();
    config
        .host("localhost")
        .hostaddr("127.0.0.1".parse().unwrap())
        .port(server.port())
        .user("postgres")
        .ssl_mode(SslMode::Require);
    let manager = PostgresConnectionManager::new(config.clone(), Distrust);
    let check = checks::postgres(bb8::Pool::builder().build_unchecked(manager)).query("SELECT 1");
    assert_eq!(look(&check).await, down(Reason::Tls));
    // The server takes no connection without it.
    config.ssl_mode(SslMode::Disable);
    let manager = PostgresConnectionManager::new(config, NoTls);
    let check = checks::postgres(bb8::Pool::builder().build_unchecked(manager));
    assert_eq!(look(&check).await, down(Reason::Auth));
}
