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
use tower_health::{Check, CheckResult, Dependency, Health, Reason, Status, checks};

use crate::{
    app::{Served, hold, is_served},
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
    let health = Health::builder()
        .add(
            Dependency::new("database", Alone::new(checks::postgres(pg.clone()))).cache_for(PERIOD),
        )
        .add(Dependency::new("cache", Alone::new(checks::redis(cache.clone()))).cache_for(PERIOD))
        .build();
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let health = health.clone();
        callers.spawn(async move {
            loop {
                let report = health.report().await;
                let panicked = |reason| reason == Some(Reason::Panicked);
                let two_runs = report.entries.iter().any(|entry| panicked(entry.reason));
                assert!(!two_runs, "two runs of one dependency at once");
                sleep(Duration::from_millis(7)).await;
            }
        });
    }
    let served = Arc::new(AtomicU64::new(0));
    let mut app = JoinSet::new();
    app.spawn({
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
    let (descriptors, tasks) = (open_descriptors(), tasks());
    let mut dice = Dice(RandomState::new().hash_one("soak"));
    println!("seed {}", dice.0);
    let connections = || to_postgres.connections() + to_redis.connections();
    while Instant::now() < end {
        let fault = FAULTS[dice.below(FAULTS.len())];
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
        sleep(Duration::from_millis(200 + dice.below(2000) as u64)).await;
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
    app.shutdown().await;
    assert!(callers.try_join_next().is_none(), "a caller has panicked");
    callers.shutdown().await;
    // Each connection of the pools serves the app.
    wait_until("every connection serves", MAXIMUM_WAIT, async || {
        let mut good = 0;
        for mut connection in hold(&pg, SIZE).await {
            good += u32::from(connection.serve().await);
        }
        for mut connection in hold(&cache, SIZE).await {
            good += u32::from(connection.serve().await);
        }
        good == 2 * SIZE
    })
    .await;
    let most = 2 * SIZE as usize + 4;
    wait_until("nothing has grown", MAXIMUM_WAIT, async || {
        open_descriptors() <= descriptors + 2 * most && self::tasks() <= tasks + most
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

/// A check that panics when a second run of it is in flight.
struct Alone<C> {
    check: C,
    running: AtomicU64,
}

/// One run, until it ends or is dropped.
struct Running<'a>(&'a AtomicU64);

impl<C> Alone<C> {
    fn new(check: C) -> Self {
        Self {
            check,
            running: AtomicU64::new(0),
        }
    }
}

impl<C: Check> Check for Alone<C> {
    async fn check(&self) -> CheckResult {
        let _running = Running(&self.running);
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0);
        self.check.check().await
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 0 where the system does not list them.
fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A small generator; its seed is printed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}
