//! Pooled connections that are silent or broken while the server works.

use std::time::Duration;

use bb8::Pool;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_health::{Dependency, Health, Reason, Status, checks};

use crate::{
    app::{
        PostgresManager, SOON, UP, assert_run, degraded, down, is_served, postgres_pool,
        redis_pool, routed, run, served, warm,
    },
    fault_rows::at_once,
    support::{Mode, Postgres, Proxy, Redis, judged_on_time, wait_until},
};

const SIZE: u32 = 4;

/// What happens to a route and to the sockets that were open before, and how it ends.
const ROUTES: [(&[Mode], Mode); 4] = [
    // Lost and back, and the sockets continue.
    (&[Mode::Stall], Mode::Pass),
    // Lost and back, and the sockets continue later, as after a retransmission.
    (&[Mode::Stall, Mode::StallExisting], Mode::ResumeSilenced),
    // Lost and back, and the sockets are silent until the kernel resets them.
    (&[Mode::Stall, Mode::StallExisting], Mode::ResetSilenced),
    // Never lost for new sockets; the others are silent until the kernel resets them.
    (&[Mode::StallExisting], Mode::ResetSilenced),
];

/// Asserts twelve runs that began once the fault was over and the app was served twice in a row.
async fn assert_no_false_down(server: &Postgres, tested: bool, (lost, back): (&[Mode], Mode)) {
    let (proxy, pool) = routed(server, SIZE, tested).await;
    let check = checks::postgres(pool.clone());
    let _requests = requests(&pool);
    for mode in lost {
        proxy.set(*mode).await;
        for _ in 0..3 {
            run(&check).await;
        }
    }
    proxy.set(back).await;
    wait_until("the app is served twice in a row", SOON, async || {
        is_served(&pool).await && is_served(&pool).await
    })
    .await;
    let mut found = Vec::new();
    for _ in 0..12 {
        found.push(judged_on_time(async || run(&check).await, |found| *found == UP).await);
        sleep(Duration::from_millis(50)).await;
    }
    let is_right = found.iter().all(|found| found.0 != Status::Down) && found.last() == Some(&UP);
    assert!(is_right, "{lost:?} {back:?}, tested {tested}: {found:?}");
}

/// Requests of the app, two at a time, each abandoned after a second, until this is dropped.
fn requests(pool: &Pool<PostgresManager>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let pool = pool.clone();
        tasks.spawn(async move {
            loop {
                is_served(&pool).await;
                sleep(Duration::from_millis(10)).await;
            }
        });
    }
    tasks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_lost_and_back_leaves_no_false_down() {
    let server = Postgres::start().await;
    let rows = ROUTES.map(|route| [true, false].map(|tested| (tested, route)));
    let rows = rows.into_iter().flatten();
    at_once(rows.map(|(tested, route)| assert_no_false_down(&server, tested, route))).await;
}

/// Asserts that no report answers 200 for 3 s, with requests of the app one after the other, where pooled
/// sockets are silent, and the rest of the pool is connects that never end.
async fn assert_down_while_nothing_is_served(server: &Postgres, tested: bool, silent: u32) {
    let context = format!("tested {tested}, {silent} silent sockets");
    let proxy = Proxy::start(server.port()).await;
    let pool = postgres_pool(server.config_through(proxy.port()), SIZE, tested);
    warm(&pool, silent).await;
    if silent < SIZE {
        proxy.set(Mode::Stall).await;
        let connections = proxy.connections();
        let requests = (0..SIZE).map(|_| async {
            let held = timeout(Duration::from_secs(1), pool.get_owned()).await;
            sleep(Duration::from_secs(1)).await;
            drop(held);
        });
        let hangs = wait_until("a connect hangs", SOON, async || {
            proxy.connections() > connections
        });
        tokio::join!(at_once(requests), hangs);
    }
    proxy.set(Mode::StallExisting).await;
    let before = proxy.connections();
    let check = checks::postgres(pool.clone());
    let dependency = Dependency::new("db", check).cache_for(Duration::from_millis(100));
    let health = Health::builder().add(dependency).build();
    let report = async || {
        let report = health.report().await;
        let entry = report.entry("db").unwrap();
        (entry.status, entry.reason)
    };
    let end = Instant::now() + Duration::from_secs(3);
    let prober = async {
        while Instant::now() < end {
            let found = report().await;
            // On a busy machine the first run may still be pending.
            let is_503 = [Status::Down, Status::Unknown].contains(&found.0);
            assert!(is_503, "{context}: {found:?}");
            sleep(Duration::from_millis(100)).await;
        }
    };
    let requests = async {
        while Instant::now() < end {
            let is_served = is_served(&pool).await;
            assert!(!is_served, "{context}: the fault has no effect");
        }
    };
    tokio::join!(prober, requests);
    wait_until(&context, SOON, async || {
        report().await == down(Reason::PoolStuck)
    })
    .await;
    // One login of the check, then pings, and on a late machine another login; the app gets no connection.
    let made = proxy.connections() - before;
    assert!((1..=2).contains(&made), "{context}: {made} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_silent_sockets_is_down_and_stuck() {
    let server = Postgres::start().await;
    let rows = [
        (true, SIZE),
        (false, SIZE),
        (true, SIZE - 1),
        (false, SIZE - 1),
    ];
    let row = |(tested, silent)| assert_down_while_nothing_is_served(&server, tested, silent);
    at_once(rows.map(row)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_socket_next_to_one_that_answers_is_stuck() {
    let server = Postgres::start().await;
    let proxy = Proxy::start(server.port()).await;
    let pool = postgres_pool(server.config_through(proxy.port()), 2, false);
    warm(&pool, 1).await;
    proxy.set(Mode::StallExisting).await;
    // The route serves new connections.
    warm(&pool, 2).await;
    let check = checks::postgres(pool);
    wait_until("degraded", SOON, async || {
        run(&check).await == degraded(Reason::PoolStuck)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_redis_connections_in_a_pool_are_not_up() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.port()).await;
    // More than one run replaces or the app requests at once.
    let pool = redis_pool(server.url_through(proxy.port()), 10, false);
    warm(&pool, 10).await;
    let check = checks::redis(pool.clone());
    assert_run(&check, UP, "before").await;
    for _ in 0..2 {
        proxy.set(Mode::Refuse).await;
        assert_eq!(run(&check).await.0, Status::Down);
        proxy.set(Mode::Pass).await;
    }
    for _ in 0..8 {
        let found = run(&check).await;
        let is_right = found.0 == Status::Down || served(&pool).await > 0;
        assert!(is_right, "{found:?} while no request is served");
    }
}
