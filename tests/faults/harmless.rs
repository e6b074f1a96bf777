//! The sockets of a frozen server, as PgBouncer counts them: with and without a check, and under load.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tower_health::{Check, checks, checks::ConnectTimeoutManager};

use crate::{
    app::{Load, PostgresManager, SOON, pool, warm},
    fault_rows::at_once,
    support::{PgBouncer, Postgres, wait_until},
};

const POOL: u32 = 10;
/// Idle connections in the pool when the fault begins.
const WARM: u32 = 4;

/// The sockets of clients at a PgBouncer, without its console.
async fn sockets(console: &Client) -> u32 {
    let rows = console.simple_query("SHOW CLIENTS").await.unwrap();
    let databases = rows.iter().filter_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get("database"),
        _ => None,
    });
    databases.map(|name| u32::from(name != "pgbouncer")).sum()
}

/// A pool with so many requests of the app at once, and so many callers of a check.
#[derive(Clone, Copy, Debug)]
struct Row {
    requests: usize,
    callers: u32,
    connect_timeout: Duration,
}

/// Freezes the database for 4 s behind a PgBouncer, which answers a login itself.
async fn assert_few_sockets(row: Row) {
    let server = Postgres::start().await;
    let Some(bouncer) = PgBouncer::start_with(&server, "admin_users = postgres").await else {
        return;
    };
    let mut config = server.config_through(bouncer.port());
    let manager = ConnectTimeoutManager::new(PostgresManager::new(config.clone(), NoTls));
    let pool = pool(manager.connect_timeout(row.connect_timeout), POOL, true);
    let (console, connection) = config.dbname("pgbouncer").connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    warm(&pool, WARM).await;
    let check = checks::postgres(pool.clone());
    let _load = Load::start(&pool, row.requests, "SELECT 1");
    // Those of the pool, and one next to it; without load two checkouts and one.
    let most = match row.requests {
        0 => WARM + 3,
        _ => POOL + 1,
    };
    server.freeze();
    let end = Instant::now() + Duration::from_secs(4);
    let mut callers = JoinSet::new();
    for _ in 0..row.callers {
        let check = check.clone();
        // One caller waits for each result; of many each hangs up.
        let limit = Duration::from_millis(if row.callers == 1 { 250 } else { 800 });
        callers.spawn(async move {
            while Instant::now() < end {
                let run = check.check_until(Instant::now() + limit);
                let _ = timeout(Duration::from_millis(300), run).await;
            }
        });
    }
    while Instant::now() < end {
        let sockets = sockets(&console).await;
        // A closed one is noticed a little later.
        assert!(sockets <= most + 3, "{row:?}: {sockets} sockets");
        sleep(Duration::from_millis(20)).await;
    }
    let what = format!("{row:?}: at most {most} sockets");
    wait_until(&what, SOON, async || sockets(&console).await <= most).await;
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_gets_no_more_sockets() {
    let (bounded, unbounded) = (Duration::from_secs(2), Duration::from_secs(3600));
    let rows = [
        (20, 0, unbounded),
        (20, 1, unbounded),
        (20, 1, bounded),
        (0, 1, unbounded),
        (0, 20, bounded),
    ];
    let row = |(requests, callers, connect_timeout)| Row {
        requests,
        callers,
        connect_timeout,
    };
    at_once(rows.map(row).map(assert_few_sockets)).await;
}
