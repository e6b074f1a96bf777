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
    support::{Mode, Postgres, Proxy, Redis, judged_on_time, wait_until},
};

const SIZE: u32 = 4;

fn pool_through(server: &Postgres, proxy: &Proxy, tested: bool) -> Pool<PostgresManager> {
    postgres_pool(server.config_through(proxy.port()), SIZE, tested)
}

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
    let pool = pool_through(server, &proxy, tested);
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
    tokio::join!(
        assert_no_false_down(&server, true, Route::Back),
        assert_no_false_down(&server, false, Route::Back),
        assert_no_false_down(&server, true, Route::BackBeforeSockets),
        assert_no_false_down(&server, false, Route::BackBeforeSockets),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_reset_at_last_leave_no_false_down() {
    let server = Postgres::start().await;
    tokio::join!(
        assert_no_false_down(&server, true, Route::BackWithSilentSockets),
        assert_no_false_down(&server, false, Route::BackWithSilentSockets),
        assert_no_false_down(&server, true, Route::LostForSockets),
        assert_no_false_down(&server, false, Route::LostForSockets),
    );
}

/// Asserts that for 4 s, with requests of the app one after the other, no report answers 200.
async fn assert_down_while_nothing_is_served(pool: Pool<PostgresManager>, context: &str) {
    let dependency =
        Dependency::new("db", checks::postgres(pool.clone())).cache_for(Duration::from_millis(100));
    let health = Health::builder().add(dependency).build();
    let report = async || {
        let report = health.report().await;
        let entry = report.entry("db").unwrap();
        (entry.status, entry.reason)
    };
    let end = Instant::now() + Duration::from_secs(4);
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
            assert!(
                !is_served(&pool).await,
                "{context}: the fault has no effect"
            );
        }
    };
    tokio::join!(prober, requests);
    wait_until(context, SOON, async || {
        report().await == down(Reason::PoolStuck)
    })
    .await;
}

/// All pooled sockets are silent; new ones work.
async fn silent_sockets(server: &Postgres, tested: bool) {
    let proxy = Proxy::start(server.port()).await;
    let pool = pool_through(server, &proxy, tested);
    warm(&pool, SIZE).await;
    proxy.set(Mode::StallExisting).await;
    assert_down_while_nothing_is_served(pool, &format!("tested {tested}")).await;
}

/// Three pooled sockets are silent, and the rest of the pool is connects that never end.
async fn silent_sockets_and_connects(server: &Postgres, tested: bool) {
    let proxy = Proxy::start(server.port()).await;
    let pool = pool_through(server, &proxy, tested);
    warm(&pool, SIZE - 1).await;
    proxy.set(Mode::Stall).await;
    let connections = proxy.connections();
    let mut requests = JoinSet::new();
    for _ in 0..SIZE {
        let pool = pool.clone();
        requests.spawn(async move { timeout(Duration::from_secs(1), pool.get_owned()).await.ok() });
    }
    wait_until("a connect hangs", SOON, async || {
        proxy.connections() > connections
    })
    .await;
    drop(requests.join_all().await);
    proxy.set(Mode::StallExisting).await;
    assert_down_while_nothing_is_served(pool, &format!("tested {tested}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_silent_sockets_is_down_and_stuck() {
    let server = Postgres::start().await;
    tokio::join!(
        silent_sockets(&server, true),
        silent_sockets(&server, false),
        silent_sockets_and_connects(&server, true),
        silent_sockets_and_connects(&server, false),
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
