//! Random faults under the load of the app, and what must hold through all of them.
//!
//! Runs for 5 s, or `TOWER_HEALTH_SOAK_SECONDS`.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_health::{Dependency, Health, Status, checks};

use crate::{
    app::is_served,
    fault_rows::each_connection_serves,
    support::{MAXIMUM_WAIT, Mode, Postgres, Proxy, Redis, wait_until},
};

const SIZE: u32 = 4;
const PERIOD: Duration = Duration::from_millis(200);

/// A fault of both servers: frozen, or this mode of their routes.
const FAULTS: [Option<Mode>; 4] = [
    None,
    Some(Mode::Stall),
    Some(Mode::Reset),
    Some(Mode::Refuse),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_right_and_nothing_leaks_in_random_faults() {
    let seconds = env::var("TOWER_HEALTH_SOAK_SECONDS").map(|text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(5));
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let (to_postgres, to_redis) =
        tokio::join!(Proxy::start(postgres.port()), Proxy::start(redis.port()));
    let pg = postgres.pool_through(to_postgres.port(), SIZE);
    let cache = redis.pool_through(to_redis.port(), SIZE);
    let database = Dependency::new("database", checks::postgres(pg.clone()));
    let health = Health::builder()
        .add(database.cache_for(PERIOD))
        .add(Dependency::new("cache", checks::redis(cache.clone())).cache_for(PERIOD))
        .build();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let health = health.clone();
        tasks.spawn(async move {
            loop {
                health.report().await;
                sleep(Duration::from_millis(7)).await;
            }
        });
    }
    let served = Arc::new(AtomicU64::new(0));
    tasks.spawn({
        let (pg, cache, served) = (pg.clone(), cache.clone(), served.clone());
        async move {
            loop {
                if is_served(&pg).await && is_served(&cache).await {
                    served.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    until_all_are(&health, Status::Up, "at first").await;
    let before = in_use();
    let connections = || to_postgres.connections() + to_redis.connections();
    while Instant::now() < end {
        let fault = FAULTS[random(FAULTS.len() as u64) as usize];
        let context = fault.map_or("Frozen".to_owned(), |mode| format!("{mode:?}"));
        match fault {
            None => {
                postgres.freeze();
                redis.freeze();
            }
            Some(mode) => {
                tokio::join!(to_postgres.set(mode), to_redis.set(mode));
            }
        }
        until_all_are(&health, Status::Down, &context).await;
        let (began, before) = (Instant::now(), connections());
        sleep(Duration::from_millis(200 + random(2000))).await;
        let (lasted, made) = (began.elapsed(), connections() - before);
        // Three for each run of two dependencies, one for each request of the app, and twice that.
        let times = |period: u64| lasted.as_millis() as u64 / period + 2;
        let bound = 2 * (3 * 2 * times(200) + times(5));
        assert!(made <= bound, "{context}: {made} connections in {lasted:?}");
        postgres.thaw();
        redis.thaw();
        tokio::join!(to_postgres.set(Mode::Pass), to_redis.set(Mode::Pass));
        until_all_are(&health, Status::Up, &format!("after {context}")).await;
        let before = served.load(Ordering::Relaxed);
        wait_until("the app is served", MAXIMUM_WAIT, async || {
            served.load(Ordering::Relaxed) > before + 10
        })
        .await;
    }
    tasks.shutdown().await;
    wait_until("every connection serves", MAXIMUM_WAIT, async || {
        each_connection_serves(&pg, SIZE).await && each_connection_serves(&cache, SIZE).await
    })
    .await;
    let most = 2 * SIZE as usize + 4;
    wait_until("nothing has grown", MAXIMUM_WAIT, async || {
        let now = in_use();
        now.0 <= before.0 + 2 * most && now.1 <= before.1 + most
    })
    .await;
}

async fn until_all_are(health: &Health, status: Status, context: &str) {
    let what = format!("{context}: {status}");
    wait_until(&what, MAXIMUM_WAIT, async || {
        let report = health.report().await;
        report.entries.iter().all(|entry| entry.status == status)
    })
    .await;
}

/// Open descriptors, 0 where the system does not list them, and tasks.
fn in_use() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (descriptors, Handle::current().metrics().num_alive_tasks())
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(()) % below
}
