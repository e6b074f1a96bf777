//! Pooled connections that are silent or broken while the server works.

use std::time::Duration;

use bb8::{ManageConnection, Pool};
use bb8_redis::{RedisConnectionManager, redis::aio::MultiplexedConnection};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_health::{Dependency, Health, Reason, Status, checks, checks::ConnectTimeoutManager};

use crate::{
    app::{
        PostgresManager, SOON, UP, assert_run, down, is_served, pool, postgres_pool, run, served,
        warm,
    },
    fault_rows::at_once,
    support::{Mode, Postgres, Proxy, Redis, judged_on_time, wait_until},
};

const SIZE: u32 = 4;

/// What happens to a route and to the sockets that were open before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Route {
    /// Lost and back, and the sockets continue.
    Back,
    /// Lost and back, and the sockets continue later, as after a retransmission.
    BackBeforeSockets,
    /// Lost and back, and the sockets are silent until the kernel resets them.
    BackWithSilentSockets,
    /// Never lost for new sockets; the others are silent until the kernel resets them.
    LostForSockets,
}

/// Asserts twelve runs that began once the fault was over and the app was served twice in a row.
async fn assert_no_false_down(server: &Postgres, tested: bool, route: Route) {
    let proxy = Proxy::start(server.port()).await;
    let pool = postgres_pool(server.config_through(proxy.port()), SIZE, tested);
    warm(&pool, SIZE).await;
    let check = checks::postgres(pool.clone());
    let _requests = requests(&pool);
    if route != Route::LostForSockets {
        proxy.set(Mode::Stall).await;
        for _ in 0..3 {
            run(&check).await;
        }
    }
    if route != Route::Back {
        proxy.set(Mode::StallExisting).await;
        for _ in 0..3 {
            run(&check).await;
        }
    }
    proxy
        .set(match route {
            Route::Back => Mode::Pass,
            Route::BackBeforeSockets => Mode::ResumeSilenced,
            Route::BackWithSilentSockets | Route::LostForSockets => Mode::ResetSilenced,
        })
        .await;
    wait_until("the app is served twice in a row", SOON, async || {
        is_served(&pool).await && is_served(&pool).await
    })
    .await;
    let mut found = Vec::new();
    for _ in 0..12 {
        found.push(judged_on_time(async || run(&check).await, |found| *found == UP).await);
        sleep(Duration::from_millis(50)).await;
    }
    let context = format!("{route:?}, tested {tested}: {found:?}");
    assert!(
        found.iter().all(|found| found.0 != Status::Down),
        "{context}"
    );
    assert_eq!(found.last(), Some(&UP), "{context}");
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
    let routes = [
        Route::Back,
        Route::BackBeforeSockets,
        Route::BackWithSilentSockets,
        Route::LostForSockets,
    ];
    let rows = routes.map(|route| [true, false].map(|tested| (tested, route)));
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
        let requests = at_once(requests);
        tokio::join!(
            requests,
            wait_until("a connect hangs", SOON, async || {
                proxy.connections() > connections
            })
        );
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
    tokio::join!(
        assert_down_while_nothing_is_served(&server, true, SIZE),
        assert_down_while_nothing_is_served(&server, false, SIZE),
        assert_down_while_nothing_is_served(&server, true, SIZE - 1),
        assert_down_while_nothing_is_served(&server, false, SIZE - 1),
    );
}

/// Connections of a Redis pool: more than one run replaces or the app requests at once.
const MANY: u32 = 10;

/// After a Redis has refused twice: every run is down, or a request of the app is served.
async fn redis_refused_twice<M>(proxy: &Proxy, manager: M, context: &str)
where
    M: ManageConnection<Connection = MultiplexedConnection>,
{
    let pool = pool(manager, MANY, false);
    warm(&pool, MANY).await;
    let check = checks::redis(pool.clone());
    assert_run(&check, UP, context).await;
    for _ in 0..2 {
        proxy.set(Mode::Refuse).await;
        assert_eq!(run(&check).await.0, Status::Down, "{context}");
        proxy.set(Mode::Pass).await;
    }
    for _ in 0..8 {
        let found = run(&check).await;
        assert!(
            found.0 == Status::Down || served(&pool).await > 0,
            "{context}: {found:?} while no request is served"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_redis_connections_in_a_pool_are_not_up() {
    let server = Redis::start().await;
    let (one, two) = tokio::join!(Proxy::start(server.port()), Proxy::start(server.port()));
    let manager =
        |proxy: &Proxy| RedisConnectionManager::new(server.url_through(proxy.port())).unwrap();
    tokio::join!(
        redis_refused_twice(&one, manager(&one), "plain"),
        redis_refused_twice(
            &two,
            ConnectTimeoutManager::new(manager(&two)),
            "connect timeout"
        ),
    );
}
