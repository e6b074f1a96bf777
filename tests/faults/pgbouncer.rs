//! Postgres behind PgBouncer, which answers a login itself: a login proves nothing.
//!
//! Skipped, with a message, where the program `pgbouncer` is not installed.

use tower_health::{Reason, checks};

use crate::{
    app::{Answer, SOON, UP, assert_run, down, is_served, postgres_pool, run},
    fault_rows::at_once,
    support::{PgBouncer, Postgres, Proxy, judged_on_time, wait_until},
};

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
    let assert_down = async |allowed: &[Answer]| {
        for _ in 0..3 {
            let one = async || {
                let before = proxy.connections();
                let found = run(&check).await;
                (found, proxy.connections() - before)
            };
            // Two of the pool, one next to it, and reconnects.
            let is_right = |(found, made): &(Answer, u64)| allowed.contains(found) && *made <= 6;
            let found = judged_on_time(one, is_right).await;
            assert!(is_right(&found), "{context}: run made {found:?}");
        }
    };
    let is_up = async || run(&check).await == UP;
    server.freeze();
    assert_down(&[down(Reason::Timeout)]).await;
    server.thaw();
    wait_until(&context, SOON, is_up).await;
    server.kill();
    // PgBouncer drops the first client when it notices.
    use Reason::{Loading, Reset, Timeout, Unreachable};
    assert_down(&[Unreachable, Reset, Timeout, Loading].map(down)).await;
    server.restart().await;
    // PgBouncer itself tries again once a second.
    wait_until(&context, SOON, is_up).await;
    // A pool that does not test still has connections that PgBouncer closed; each fails once.
    wait_until(&context, SOON, async || is_served(&pool).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_behind_pgbouncer_are_down_without_a_storm() {
    let rows = [(true, true), (true, false), (false, true), (false, false)];
    at_once(rows.map(|(tested, warm)| faults_behind_pgbouncer(tested, warm))).await;
}
