//! Pooled connections that are silent or dead while the server is fine.

use std::time::Duration;

use bb8::ManageConnection;
use bb8_redis::{RedisConnectionManager, redis::aio::MultiplexedConnection};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::Client;
use tower_health::{Dependency, Health, Reason, Status, checks, report::Report};

use crate::{
    answer::{Answer, UP, down},
    app::{
        PostgresManager, SOON, is_served, postgres_pool, redis_is_served, run, warm,
        with_connect_timeout,
    },
    support::{Mode, Postgres, Proxy, Redis, judged_on_time, wait_until},
};

const SIZE: u32 = 4;

/// A pool through `proxy`.
fn pool_through(server: &Postgres, proxy: &Proxy, tested: bool) -> bb8::Pool<PostgresManager> {
    postgres_pool(server.config_through(proxy.port()), SIZE, tested)
}

/// What happens to a route and to the sockets that were open before.
#[derive(Clone, Copy, Debug)]
enum Route {
    /// Lost and back, and the sockets go on.
    Back,
    /// Lost and back, and the sockets go on later, as after a retransmission.
    BackBeforeSockets,
    /// Lost and back, and the sockets are silent until the kernel gives them up.
    BackWithSilentSockets,
    /// Never lost for new sockets; those before are silent until the kernel gives them up.
    LostForSockets,
}

/// Twelve runs that began once the fault was over and the app was served twice in a row.
async fn after_the_route_is_back(server: &Postgres, tested: bool, route: Route) -> Vec<Answer> {
    let proxy = Proxy::start(server.port()).await;
    let pool = pool_through(server, &proxy, tested);
    warm(&pool, SIZE).await;
    let check = checks::postgres(pool.clone());
    let _load = Requests::start(&pool);
    if !matches!(route, Route::LostForSockets) {
        proxy.set(Mode::Stall).await;
        for _ in 0..3 {
            run(&check).await;
        }
    }
    if matches!(route, Route::Back) {
        proxy.set(Mode::Pass).await;
    } else {
        proxy.set(Mode::StallExisting).await;
        for _ in 0..3 {
            run(&check).await;
        }
        proxy
            .set(match route {
                Route::BackBeforeSockets => Mode::ResumeSilenced,
                _ => Mode::ResetSilenced,
            })
            .await;
    }
    let mut in_a_row = 0;
    wait_until("the app is served again", SOON, async || {
        in_a_row = if is_served(&pool).await {
            in_a_row + 1
        } else {
            0
        };
        in_a_row == 2
    })
    .await;
    let mut found = Vec::new();
    for _ in 0..12 {
        found.push(judged_on_time(async || run(&check).await, |found| *found == UP).await);
        sleep(Duration::from_millis(50)).await;
    }
    found
}

/// Requests of the app's, two at a time, each given up after a second.
struct Requests {
    // Dropped, it ends them.
    _tasks: JoinSet<()>,
}

impl Requests {
    fn start(pool: &bb8::Pool<PostgresManager>) -> Self {
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
        Self { _tasks: tasks }
    }
}

async fn no_false_down(route: Route) {
    let server = Postgres::start().await;
    let (tested, untested) = tokio::join!(
        after_the_route_is_back(&server, true, route),
        after_the_route_is_back(&server, false, route),
    );
    for (found, tested) in [(tested, true), (untested, false)] {
        let context = format!("{route:?}, tested {tested}: {found:?}");
        let is_down = |found: &Answer| found.0 == Status::Down;
        assert!(!found.iter().any(is_down), "{context}");
        assert_eq!(found.last(), Some(&UP), "{context}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_lost_and_back_leaves_no_false_down() {
    no_false_down(Route::Back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_go_on_late_leave_no_false_down() {
    no_false_down(Route::BackBeforeSockets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_given_up_leave_no_false_down() {
    no_false_down(Route::BackWithSilentSockets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_silent_on_a_working_route_leave_no_false_down() {
    no_false_down(Route::LostForSockets).await;
}

fn health<M>(pool: &bb8::Pool<M>) -> Health
where
    M: ManageConnection<Connection = Client>,
{
    let dependency =
        Dependency::new("db", checks::postgres(pool.clone())).cache_for(Duration::from_millis(100));
    let health = Health::builder().add(dependency).build();
    health.set_started();
    health
}

fn entry(report: &Report) -> Answer {
    let entry = report.entry("db").unwrap();
    (entry.status, entry.reason)
}

/// What a prober sees in 4 s while requests of the app's come one after the other: reports
/// that answer 200, all reports, and requests served.
async fn probed<M>(pool: &bb8::Pool<M>) -> (Vec<Answer>, Answer, u32)
where
    M: ManageConnection<Connection = Client>,
{
    let health = health(pool);
    let end = Instant::now() + Duration::from_secs(4);
    let prober = async {
        let (mut wrong, mut last) = (Vec::new(), UP);
        while Instant::now() < end {
            last = entry(&health.report().await);
            if last.0 != Status::Down {
                wrong.push(last);
            }
            sleep(Duration::from_millis(100)).await;
        }
        (wrong, last)
    };
    let requests = async {
        let mut served = 0;
        while Instant::now() < end {
            served += u32::from(is_served(pool).await);
        }
        served
    };
    let ((wrong, last), served) = tokio::join!(prober, requests);
    (wrong, last, served)
}

/// All pooled sockets fall silent; new ones work.
async fn silent_sockets(server: &Postgres, tested: bool) -> (Vec<Answer>, Answer, u32) {
    let proxy = Proxy::start(server.port()).await;
    let pool = pool_through(server, &proxy, tested);
    warm(&pool, SIZE).await;
    proxy.set(Mode::StallExisting).await;
    probed(&pool).await
}

/// Three pooled sockets fall silent, and the other places are connects that never end.
async fn silent_sockets_and_connects(
    server: &Postgres,
    tested: bool,
) -> (Vec<Answer>, Answer, u32) {
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
    probed(&pool).await
}

async fn assert_down(found: (Vec<Answer>, Answer, u32), context: &str) {
    let (wrong, last, served) = found;
    println!(
        "{context}: {served} served, {} false reports, last {last:?}",
        wrong.len()
    );
    assert_eq!(served, 0, "{context}: the fault is not what it should be");
    assert_eq!(wrong, [], "{context}: 200 while no request is served");
    assert_eq!(last, down(Reason::PoolStuck), "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_silent_sockets_is_down_and_stuck() {
    let server = Postgres::start().await;
    let (tested, untested) = tokio::join!(
        silent_sockets(&server, true),
        silent_sockets(&server, false)
    );
    assert_down(tested, "tested").await;
    assert_down(untested, "not tested").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_and_endless_connects_are_down_and_stuck() {
    let server = Postgres::start().await;
    let (tested, untested) = tokio::join!(
        silent_sockets_and_connects(&server, true),
        silent_sockets_and_connects(&server, false),
    );
    assert_down(tested, "tested").await;
    assert_down(untested, "not tested").await;
}

/// Connections of a Redis pool: more than one run replaces or the app asks for at once.
const MANY: u32 = 10;

/// Runs after a Redis has refused twice, each with how many of the app's next five requests were served.
async fn redis_refused_twice<M>(proxy: &Proxy, pool: bb8::Pool<M>) -> Vec<(Answer, u32)>
where
    M: ManageConnection<Connection = MultiplexedConnection>,
{
    warm(&pool, MANY).await;
    let check = checks::redis(pool.clone());
    let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
    assert_eq!(found, UP);
    for _ in 0..2 {
        proxy.set(Mode::Refuse).await;
        assert_eq!(run(&check).await.0, Status::Down);
        proxy.set(Mode::Pass).await;
    }
    let mut found = Vec::new();
    for _ in 0..8 {
        let one = run(&check).await;
        let mut served = 0;
        for _ in 0..5 {
            served += u32::from(redis_is_served(&pool).await);
        }
        found.push((one, served));
    }
    found
}

fn untested<M: ManageConnection>(manager: M) -> bb8::Pool<M> {
    bb8::Pool::builder()
        .max_size(MANY)
        .test_on_check_out(false)
        .build_unchecked(manager)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_redis_connections_in_a_pool_are_not_up() {
    let server = Redis::start().await;
    let (one, two) = (
        Proxy::start(server.port()).await,
        Proxy::start(server.port()).await,
    );
    let manager =
        |proxy: &Proxy| RedisConnectionManager::new(server.url_through(proxy.port())).unwrap();
    let bounded = with_connect_timeout(manager(&two));
    let (plain, bounded) = tokio::join!(
        redis_refused_twice(&one, untested(manager(&one))),
        redis_refused_twice(&two, untested(bounded)),
    );
    for (found, context) in [(plain, "plain"), (bounded, "connect timeout")] {
        println!("{context}: {found:?}");
        for ((status, reason), served) in found {
            assert!(
                status == Status::Down || served > 0,
                "{context}: {status:?} {reason:?} while no request is served"
            );
        }
    }
}
