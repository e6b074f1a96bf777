//! The check does not harm the app: sockets at the server, requests served, queries killed.

use std::{sync::Arc, time::Duration};

use bb8::{ManageConnection, Pool};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tower_health::{Check, checks, checks::ConnectTimeoutManager};

use crate::{
    app::{Load, PostgresManager, RUN, SOON, hold, pool, postgres_pool, run, run_within, warm},
    support::{Mode, PgBouncer, Postgres, Proxy, wait_until},
};

/// Slots of a PgBouncer for its clients.
const SLOTS: u64 = 100;
const POOL: u32 = 10;
/// Idle connections in the pool when the fault begins.
const WARM: u32 = 4;

/// A database that can be frozen behind a PgBouncer, which counts its clients.
struct Behind {
    server: Postgres,
    bouncer: PgBouncer,
    console: Client,
}

impl Behind {
    /// `None` where the program is not installed.
    async fn start() -> Option<Self> {
        let server = Postgres::start().await;
        let settings = format!("admin_users = postgres\nmax_client_conn = {SLOTS}");
        let bouncer = PgBouncer::start_with(&server, &settings).await?;
        let mut config = server.config_through(bouncer.port());
        let console = config.dbname("pgbouncer").connect(NoTls).await;
        let (console, connection) = console.expect("the console");
        tokio::spawn(connection);
        Some(Self {
            server,
            bouncer,
            console,
        })
    }

    fn manager(&self) -> PostgresManager {
        PostgresManager::new(self.server.config_through(self.bouncer.port()), NoTls)
    }

    /// The sockets of clients, without the console.
    async fn sockets(&self) -> u64 {
        let rows = self.console.simple_query("SHOW CLIENTS").await.unwrap();
        let is_client = |row: &&SimpleQueryMessage| matches!(row, SimpleQueryMessage::Row(row) if row.get("database") != Some("pgbouncer"));
        rows.iter().filter(is_client).count() as u64
    }

    /// Waits until no more than `most` sockets are open; a closed one is noticed a little later.
    async fn until_sockets_are_at_most(&self, most: u64, context: &str) {
        let what = format!("{context}: at most {most} sockets");
        wait_until(&what, SOON, async || self.sockets().await <= most).await;
    }
}

/// Freezes the database for 4 s under load, with or without a check.
async fn frozen_under_load<M>(behind: &Behind, pool: Pool<M>, checked: bool, context: &str)
where
    M: ManageConnection<Connection = Client>,
{
    warm(&pool, WARM).await;
    let check = checks::postgres(pool.clone());
    let _load = Load::start(&pool, 20, "SELECT 1");
    behind.server.freeze();
    let end = Instant::now() + Duration::from_secs(4);
    // Those of the pool, and one next to it.
    let most = u64::from(POOL) + 1;
    while Instant::now() < end {
        if checked {
            run_within(&check, RUN / 2).await;
        } else {
            sleep(RUN / 2).await;
        }
        let sockets = behind.sockets().await;
        assert!(sockets <= most + 3, "{context}: {sockets} sockets");
    }
    behind.until_sockets_are_at_most(most, context).await;
    // Others still get a connection.
    let login = timeout(SOON, behind.manager().connect()).await;
    assert!(login.is_ok_and(|login| login.is_ok()), "{context}");
    behind.server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_gets_no_more_sockets_under_load() {
    let (Some(one), Some(two), Some(three)) =
        tokio::join!(Behind::start(), Behind::start(), Behind::start())
    else {
        return;
    };
    let plain = |behind: &Behind| pool(behind.manager(), POOL, true);
    let bounded = pool(ConnectTimeoutManager::new(three.manager()), POOL, true);
    tokio::join!(
        frozen_under_load(&one, plain(&one), false, "no check"),
        frozen_under_load(&two, plain(&two), true, "plain"),
        frozen_under_load(&three, bounded, true, "connect timeout"),
    );
}

/// Requests that `pool` serves in 5 s with a check each 200 ms.
async fn served_far_away<M>(pool: Pool<M>) -> u64
where
    M: ManageConnection<Connection = Client>,
{
    let check = checks::postgres(pool.clone());
    let load = Load::start(&pool, 20, "SELECT 1");
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        run(&check).await;
        sleep(Duration::from_millis(200)).await;
    }
    load.served()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_timeout_does_not_reduce_requests_at_600_ms() {
    let server = Postgres::start().await;
    let (one, two) = tokio::join!(Proxy::start(server.port()), Proxy::start(server.port()));
    for proxy in [&one, &two] {
        proxy.set(Mode::Distant(Duration::from_millis(600))).await;
    }
    let manager = |proxy: &Proxy| PostgresManager::new(server.config_through(proxy.port()), NoTls);
    let (plain, bounded) = tokio::join!(
        served_far_away(pool(manager(&one), POOL, true)),
        served_far_away(pool(ConnectTimeoutManager::new(manager(&two)), POOL, true)),
    );
    // With a limit on more than the login it was a seventh.
    assert!(plain > 0 && bounded * 2 >= plain, "{bounded} of {plain}");
}

/// Asserts that callers of a check on a frozen database add at most three sockets.
async fn add_three_sockets<M>(behind: &Behind, pool: Pool<M>, callers: u32)
where
    M: ManageConnection<Connection = Client>,
{
    warm(&pool, WARM).await;
    let check = Arc::new(checks::postgres(pool));
    let before = behind.sockets().await;
    behind.server.freeze();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let check = check.clone();
        tasks.spawn(async move {
            for _ in 0..15 {
                match callers {
                    1 => drop(run_within(&*check, Duration::from_millis(250)).await),
                    // It hangs up.
                    _ => drop(timeout(Duration::from_millis(300), check.check()).await),
                }
            }
        });
    }
    while !tasks.is_empty() {
        while tasks.try_join_next().is_some() {}
        let more = behind.sockets().await.saturating_sub(before);
        assert!(more <= 3, "{callers} callers: {more} more sockets");
        sleep(Duration::from_millis(20)).await;
    }
    behind.server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_and_hang_ups_on_a_frozen_database_add_three_sockets() {
    let (Some(one), Some(two), Some(three)) =
        tokio::join!(Behind::start(), Behind::start(), Behind::start())
    else {
        return;
    };
    let bounded = |behind: &Behind| pool(ConnectTimeoutManager::new(behind.manager()), POOL, true);
    tokio::join!(
        add_three_sockets(&one, pool(one.manager(), POOL, true), 1),
        add_three_sockets(&two, bounded(&two), 1),
        add_three_sockets(&three, bounded(&three), 20),
    );
}

/// Five runs whose query ends about when the run does, over a round trip of 100 ms.
async fn no_query_is_killed(server: &Postgres, lane: u32) {
    let proxy = Proxy::start(server.port()).await;
    // A test at checkout would take the round trip in which the harm is done.
    let pool = postgres_pool(server.config_through(proxy.port()), 1, false);
    warm(&pool, 1).await;
    proxy.set(Mode::Distant(Duration::from_millis(100))).await;
    for round in 0..5 {
        // From 500 to 690 ms: the deadline is 150 ms after the checkout and half a round trip.
        let millis = 500 + 40 * round + 10 * lane;
        let sql = format!("SELECT pg_sleep({millis} / 1000.0)");
        let check = checks::postgres(pool.clone()).query(sql);
        run(&check).await;
        let connection = hold(&pool, 1).await.remove(0);
        let query = connection.simple_query("SELECT pg_sleep(0.3)").await;
        assert!(query.is_ok(), "{millis} ms: {query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_ends_with_its_run_kills_no_query_of_the_app() {
    let server = Postgres::start().await;
    tokio::join!(
        no_query_is_killed(&server, 0),
        no_query_is_killed(&server, 1),
        no_query_is_killed(&server, 2),
        no_query_is_killed(&server, 3),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_holds_no_connection_after_its_run() {
    let server = Postgres::start().await;
    let observer = server.client().await;
    let pool = server.pool(4);
    warm(&pool, 4).await;
    let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(40)");
    // No connection can be made, so no query can be cancelled.
    server.freeze_postmaster();
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE state = 'active' AND query LIKE '%pg_sleep(40)%' AND pid <> pg_backend_pid()";
    for _ in 0..4 {
        run(&check).await;
        // Long before the query would end.
        wait_until("the query has ended", SOON, async || {
            let row = observer.query_one(sql, &[]).await.unwrap();
            row.get::<_, i64>(0) == 0
        })
        .await;
    }
    // The app has all connections.
    warm(&pool, 4).await;
    server.thaw();
}
