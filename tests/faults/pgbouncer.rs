//! Postgres behind PgBouncer, where a login proves nothing: the proxy answers it itself.
//!
//! Skipped, with the reason printed, where the `pgbouncer` program is missing.

use std::time::Duration;

use crate::answer::{UP, look, look_on_time};
use crate::support::{PgBouncer, Postgres, Proxy, wait_until};
use bb8_postgres::PostgresConnectionManager;
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls};
use tower_health::{Reason, Status, checks};

const SOON: Duration = Duration::from_secs(20);

async fn through(proxy: &Proxy, tested: bool) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(proxy.port())
        .user("postgres")
        .dbname("postgres");
    bb8::Pool::builder()
        .max_size(2)
        .test_on_check_out(tested)
        .build_unchecked(PostgresConnectionManager::new(config, NoTls))
}

#[tokio::test]
async fn a_dead_and_a_frozen_backend_are_found_out_behind_it_without_a_storm() {
    for (tested, warm) in [(true, true), (true, false), (false, true), (false, false)] {
        let context = format!("tested {tested}, warm {warm}");
        let mut server = Postgres::start().await;
        let Some(bouncer) = PgBouncer::start(&server).await else {
            return;
        };
        let proxy = Proxy::start(bouncer.port()).await;
        let pool = through(&proxy, tested).await;
        let check = checks::postgres(pool.clone());
        if warm {
            assert_eq!(
                look_on_time(&check, |found| found == UP).await,
                UP,
                "{context}"
            );
        }
        server.freeze();
        for _ in 0..2 {
            let before = proxy.connections();
            // Whatever the machine does, nothing answers.
            let verdict = look(&check).await;
            assert_eq!(verdict, (Status::Down, Some(Reason::Timeout)), "{context}");
            assert!(proxy.connections() - before <= 3, "{context}");
        }
        server.thaw();
        wait_until(&context, SOON, async || look(&check).await == UP).await;
        server.kill();
        for run in 0..3 {
            let before = proxy.connections();
            let verdict = look(&check).await;
            let made = proxy.connections() - before;
            println!("{context}: backend killed, run {run}: {verdict:?}, {made} connections");
            // PgBouncer drops the first client when it finds out.
            let allowed = [
                Reason::Unreachable,
                Reason::Reset,
                Reason::Timeout,
                Reason::Loading,
            ];
            assert!(
                verdict.0 == Status::Down && allowed.contains(&verdict.1.unwrap()),
                "{context}: {verdict:?}"
            );
            assert!(made <= 4, "{context}: {made} connections");
        }
        server.restart().await;
        // It tries again once a second itself.
        wait_until(&context, SOON, async || look(&check).await == UP).await;
        let connection = timeout(SOON, pool.get()).await.unwrap().unwrap();
        wait_until(&context, SOON, async || {
            connection.simple_query("SELECT 1").await.is_ok()
        })
        .await;
    }
}
