//! The check does not harm the app: sockets at the server, requests served, queries killed.

use std::{sync::Arc, time::Duration};

use bb8_postgres::PostgresConnectionManager;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tower_health::{Check, checks};

use crate::{
    app::{
        Load, PostgresManager, RUN, SOON, postgres_pool, run, run_within, warm,
        with_connect_timeout,
    },
    support::{Mode, PgBouncer, Postgres, Proxy, wait_until},
};

/// The slots of a PgBouncer for its clients.
const SLOTS: u64 = 100;
const POOL: u32 = 10;
/// Connections that idle in the pool when the fault begins.
const WARM: u32 = 4;

/// A database that can be frozen behind a PgBouncer, which counts its clients.
struct Behind {
    server: Postgres,
    bouncer: PgBouncer,
    console: Client,
}

impl Behind {
    /// `None` where the program is missing.
    async fn start() -> Option<Self> {
        let server = Postgres::start().await;
        let settings = format!("admin_users = postgres\nmax_client_conn = {SLOTS}");
        let bouncer = PgBouncer::start_with(&server, &settings).await?;
        let mut config = server.config_through(bouncer.port());
        let (console, connection) = config
            .dbname("pgbouncer")
            .connect(NoTls)
            .await
            .expect("the console");
        tokio::spawn(connection);
        Some(Self {
            server,
            bouncer,
            console,
        })
    }

    fn manager(&self) -> PostgresManager {
        PostgresConnectionManager::new(self.server.config_through(self.bouncer.port()), NoTls)
    }

    /// The sockets of clients, without the console's.
    async fn sockets(&self) -> u64 {
        let rows = self.console.simple_query("SHOW CLIENTS").await.unwrap();
        let rows = rows.iter();
        rows.filter(|row| {
            matches!(row, SimpleQueryMessage::Row(row) if row.get("database") != Some("pgbouncer"))
        })
        .count() as u64
    }

    /// Whether others still get a connection.
    async fn takes_clients(&self) -> bool {
        let config = self.server.config_through(self.bouncer.port());
        let login = timeout(SOON, config.connect(NoTls)).await;
        login.is_ok_and(|login| login.is_ok())
    }
}

fn pool_of<M: bb8::ManageConnection>(manager: M) -> bb8::Pool<M> {
    bb8::Pool::builder().max_size(POOL).build_unchecked(manager)
}

/// The most sockets at the PgBouncer while the database is frozen for 6 s under load.
async fn sockets_under_load<M>(behind: &Behind, pool: bb8::Pool<M>, checked: bool) -> u64
where
    M: bb8::ManageConnection<Connection = Client>,
{
    warm(&pool, WARM).await;
    let check = checks::postgres(pool.clone());
    let _load = Load::start(&pool, 20, "SELECT 1");
    behind.server.freeze();
    let end = Instant::now() + Duration::from_secs(6);
    let mut most = 0;
    while Instant::now() < end {
        if checked {
            run_within(&check, RUN / 2).await;
        } else {
            sleep(RUN / 2).await;
        }
        most = most.max(behind.sockets().await);
    }
    assert!(behind.takes_clients().await, "{most} sockets");
    behind.server.thaw();
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_gets_no_more_sockets_under_load() {
    let (Some(bare), Some(plain), Some(bounded)) =
        tokio::join!(Behind::start(), Behind::start(), Behind::start())
    else {
        return;
    };
    let (unchecked, plain, bounded) = tokio::join!(
        sockets_under_load(&bare, pool_of(bare.manager()), false),
        sockets_under_load(&plain, pool_of(plain.manager()), true),
        sockets_under_load(
            &bounded,
            pool_of(with_connect_timeout(bounded.manager())),
            true
        ),
    );
    println!("no check {unchecked}, plain {plain}, connect timeout {bounded}");
    // The app's own, at most all that the pool may make, and one beside it.
    let most = u64::from(POOL) + 1;
    assert!(unchecked <= most, "no check: {unchecked}");
    assert!(plain <= most, "plain: {plain}");
    assert!(bounded <= most, "connect timeout: {bounded}");
}

/// Requests that `pool` serves in 8 s with a check each 200 ms.
async fn served_at_a_distance<M>(pool: bb8::Pool<M>) -> u64
where
    M: bb8::ManageConnection<Connection = Client>,
{
    let check = checks::postgres(pool.clone());
    let load = Load::start(&pool, 20, "SELECT 1");
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        run(&check).await;
        sleep(Duration::from_millis(200)).await;
    }
    load.served()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_timeout_serves_as_much_at_600_ms() {
    let server = Postgres::start().await;
    let (near, far) = (
        Proxy::start(server.port()).await,
        Proxy::start(server.port()).await,
    );
    for proxy in [&near, &far] {
        proxy.set(Mode::Distant(Duration::from_millis(600))).await;
    }
    let manager =
        |proxy: &Proxy| PostgresConnectionManager::new(server.config_through(proxy.port()), NoTls);
    let (plain, bounded) = tokio::join!(
        served_at_a_distance(pool_of(manager(&near))),
        served_at_a_distance(pool_of(with_connect_timeout(manager(&far)))),
    );
    println!("plain {plain}, connect timeout {bounded}");
    assert!(plain >= 10, "{plain}");
    assert!(bounded * 4 >= plain * 3, "{bounded} of {plain}");
}

/// The most sockets beyond those before, while one run follows the other on a frozen database.
async fn sockets_of_the_check<M>(
    behind: &Behind,
    pool: bb8::Pool<M>,
    runs: u32,
    limit: Duration,
) -> u64
where
    M: bb8::ManageConnection<Connection = Client>,
{
    warm(&pool, WARM).await;
    let check = checks::postgres(pool);
    let before = behind.sockets().await;
    behind.server.freeze();
    let mut most = 0;
    for _ in 0..runs {
        run_within(&check, limit).await;
        most = most.max(behind.sockets().await);
    }
    behind.server.thaw();
    most.saturating_sub(before)
}

async fn one_run_after_the_other(runs: u32, limit: Duration) {
    let (Some(plain), Some(bounded)) = tokio::join!(Behind::start(), Behind::start()) else {
        return;
    };
    let (plain, bounded) = tokio::join!(
        sockets_of_the_check(&plain, pool_of(plain.manager()), runs, limit),
        sockets_of_the_check(
            &bounded,
            pool_of(with_connect_timeout(bounded.manager())),
            runs,
            limit
        ),
    );
    println!("{runs} runs: plain {plain} more, connect timeout {bounded} more");
    assert!(plain <= 3, "plain: {plain} more");
    assert!(bounded <= 3, "connect timeout: {bounded} more");
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_runs_on_a_frozen_database_add_three_sockets() {
    one_run_after_the_other(40, Duration::from_millis(250)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_minute_of_runs_on_a_frozen_database_adds_three_sockets() {
    one_run_after_the_other(75, RUN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_that_hang_up_add_three_sockets() {
    let Some(behind) = Behind::start().await else {
        return;
    };
    let pool = pool_of(with_connect_timeout(behind.manager()));
    warm(&pool, WARM).await;
    let check = Arc::new(checks::postgres(pool));
    let before = behind.sockets().await;
    behind.server.freeze();
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let check = check.clone();
        callers.spawn(async move {
            for _ in 0..15 {
                let _ = timeout(Duration::from_millis(300), check.check()).await;
            }
        });
    }
    let mut most = 0;
    while !callers.is_empty() {
        while callers.try_join_next().is_some() {}
        most = most.max(behind.sockets().await);
        sleep(Duration::from_millis(20)).await;
    }
    behind.server.thaw();
    let more = most.saturating_sub(before);
    println!("{more} more");
    assert!(more <= 3, "{more} more");
}

/// How many of the app's queries are killed in five rounds of runs whose query ends
/// about when the run does, over a round trip of 100 ms.
async fn killed_queries(server: &Postgres, lane: u32) -> u32 {
    let proxy = Proxy::start(server.port()).await;
    // A test at checkout would take the round trip in which the harm is done.
    let pool = postgres_pool(server.config_through(proxy.port()), 1, false);
    warm(&pool, 1).await;
    proxy.set(Mode::Distant(Duration::from_millis(100))).await;
    let mut killed = 0;
    for round in 0..5 {
        // From 500 to 690 ms: the deadline comes 150 ms after the checkout and half a round trip.
        let sleeps = 500 + 40 * round + 10 * lane;
        let sql = format!("SELECT pg_sleep({sleeps} / 1000.0)");
        let check = checks::postgres(pool.clone()).query(sql);
        run(&check).await;
        let connection = timeout(SOON, pool.get()).await.unwrap().unwrap();
        let query = connection.simple_query("SELECT pg_sleep(0.3)").await;
        if let Err(error) = query {
            println!("{sleeps} ms: {:?}", error.code());
            killed += 1;
        }
    }
    killed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_ends_with_its_run_kills_no_query_of_the_app() {
    let server = Postgres::start().await;
    let killed = tokio::join!(
        killed_queries(&server, 0),
        killed_queries(&server, 1),
        killed_queries(&server, 2),
        killed_queries(&server, 3),
    );
    let killed = killed.0 + killed.1 + killed.2 + killed.3;
    assert_eq!(killed, 0, "of 20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_holds_no_connection_after_its_run() {
    let server = Postgres::start().await;
    let observer = server.client().await;
    let pool = server.pool(4);
    warm(&pool, 4).await;
    let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(40)");
    // No connection can be made, and so no query be cancelled.
    server.freeze_postmaster();
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE state = 'active' AND query LIKE '%pg_sleep(40)%' AND pid <> pg_backend_pid()";
    for round in 0..4 {
        run(&check).await;
        wait_until("the query has ended", Duration::from_secs(5), async || {
            let row = observer.query_one(sql, &[]).await.unwrap();
            let queries: i64 = row.get(0);
            if queries > 1 {
                println!("round {round}: {queries} queries");
            }
            queries == 0
        })
        .await;
    }
    // The app has all of them.
    warm(&pool, 4).await;
    server.thaw();
}
