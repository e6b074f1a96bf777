//! Postgres behind PgBouncer, which answers a login itself: a login proves nothing.
//!
//! Skipped, with a message, where the program `pgbouncer` is not installed.

use tower_health::{Reason, Status, checks};

use crate::{
    app::{SOON, UP, assert_run, down, is_served, postgres_pool, run},
    fault_rows::at_once,
    support::{PgBouncer, Postgres, Proxy, wait_until},
};

/// Connections of a run that are not a storm: two of the pool, one next to it, and reconnects.
const FEW: u64 = 6;

/// Freezes the database and kills it, behind a pool of two.
async fn faults_behind_pgbouncer(tested: bool, warm: bool) {
    let context = format!("tested {tested}, warm {warm}");
    let mut server = Postgres::start().await;
    let Some(bouncer) = PgBouncer::start(&server).await else {
        return;
    };
    let proxy = Proxy::start(bouncer.port()).await;
    let pool = postgres_pool(server.config_through(proxy.port()), 2, tested);
    let check = checks::postgres(pool.clone());
    if warm {
        assert_run(&check, UP, &context).await;
    }
    let few_are_made = |before: u64| {
        let made = proxy.connections() - before;
        assert!(made <= FEW, "{context}: {made} connections");
    };
    server.freeze();
    for _ in 0..2 {
        let before = proxy.connections();
        assert_eq!(run(&check).await, down(Reason::Timeout), "{context}");
        few_are_made(before);
    }
    server.thaw();
    wait_until(&context, SOON, async || run(&check).await == UP).await;
    server.kill();
    for _ in 0..3 {
        let before = proxy.connections();
        let found = run(&check).await;
        // PgBouncer drops the first client when it notices.
        let allowed = [
            Reason::Unreachable,
            Reason::Reset,
            Reason::Timeout,
            Reason::Loading,
        ];
        let is_allowed = found.0 == Status::Down && allowed.contains(&found.1.unwrap());
        assert!(is_allowed, "{context}: {found:?}");
        few_are_made(before);
    }
    server.restart().await;
    // PgBouncer itself tries again once a second.
    wait_until(&context, SOON, async || run(&check).await == UP).await;
    // A pool that does not test still has connections that PgBouncer closed; each fails once.
    wait_until(&context, SOON, async || is_served(&pool).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_behind_pgbouncer_are_down_without_a_storm() {
    let rows = [(true, true), (true, false), (false, true), (false, false)];
    at_once(rows.map(|(tested, warm)| faults_behind_pgbouncer(tested, warm))).await;
}
