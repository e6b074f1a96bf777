//! Faults at random under the app's own load, and what must hold through all of them.
//!
//! Runs for 20 s, or `TOWER_HEALTH_SOAK_SECONDS`.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::support::{Mode, Postgres, Proxy, Redis, wait_until};
use bb8_redis::redis::cmd;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};
use tower_health::{
    Check, CheckResult, Dependency, Health, Reason, Status, checks, report::Report,
};

const SIZE: u32 = 4;
const PERIOD: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Frozen,
    Silent,
    Reset,
    Refused,
}

const FAULTS: [Fault; 4] = [Fault::Frozen, Fault::Silent, Fault::Reset, Fault::Refused];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_are_right_and_nothing_is_lost_through_random_faults() {
    let seconds = env::var("TOWER_HEALTH_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(20));
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let to_postgres = Proxy::start(postgres.port()).await;
    let to_redis = Proxy::start(redis.port()).await;
    let pg = postgres.pool_through(to_postgres.port(), SIZE);
    let cache = redis.pool_through(to_redis.port(), SIZE);
    let database = Alone::new(checks::postgres(pg.clone()));
    let store = Alone::new(checks::redis(cache.clone()));
    let health = Health::builder()
        .add(Dependency::new("database", database).cache_for(PERIOD))
        .add(Dependency::new("cache", store).cache_for(PERIOD))
        .build();
    // More than one caller, or single flight would be for nothing.
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let health = health.clone();
            tokio::spawn(async move {
                loop {
                    assert_ne!(reason(&health.report().await), Some(Reason::Panicked));
                    sleep(Duration::from_millis(7)).await;
                }
            })
        })
        .collect();
    let served = Arc::new(AtomicU64::new(0));
    let app = {
        let (pg, cache, served) = (pg.clone(), cache.clone(), served.clone());
        tokio::spawn(async move {
            loop {
                let request = async {
                    pg.get().await.ok()?.batch_execute("SELECT 1").await.ok()?;
                    cmd("PING")
                        .exec_async(&mut *cache.get().await.ok()?)
                        .await
                        .ok()?;
                    Some(())
                };
                // As an app does whose callers hang up.
                if timeout(Duration::from_millis(300), request)
                    .await
                    .is_ok_and(|done| done.is_some())
                {
                    served.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
    };
    until_all_are(&health, Status::Up, "at first").await;
    let (descriptors, tasks) = (open_descriptors(), tasks());
    let mut dice = Dice(RandomState::new().hash_one("soak"));
    println!("seed {}", dice.0);
    let mut rounds = 0;
    while Instant::now() < end {
        let fault = FAULTS[dice.below(FAULTS.len())];
        let lasts = Duration::from_millis(200 + dice.below(2000) as u64);
        rounds += 1;
        match fault {
            Fault::Frozen => {
                postgres.freeze();
                redis.freeze();
            }
            Fault::Silent => {
                tokio::join!(to_postgres.set(Mode::Stall), to_redis.set(Mode::Stall)).0
            }
            Fault::Reset => tokio::join!(to_postgres.set(Mode::Reset), to_redis.set(Mode::Reset)).0,
            Fault::Refused => {
                tokio::join!(to_postgres.set(Mode::Refuse), to_redis.set(Mode::Refuse)).0
            }
        }
        // Found out within its budget, the timeout and one period, and a loaded machine's patience.
        until_all_are(&health, Status::Down, &format!("{fault:?}")).await;
        let made = to_postgres.connections() + to_redis.connections();
        sleep(lasts).await;
        // At each check of two dependencies three, at each of the app's requests one.
        let made = to_postgres.connections() + to_redis.connections() - made;
        let bound =
            2 * (lasts.as_millis() as u64 / 200 + 2) * 3 + 2 * (lasts.as_millis() as u64 / 5 + 2);
        assert!(made <= bound, "{fault:?}: {made} connections in {lasts:?}");
        postgres.thaw();
        redis.thaw();
        tokio::join!(to_postgres.set(Mode::Pass), to_redis.set(Mode::Pass));
        let mended = Instant::now();
        until_all_are(&health, Status::Up, &format!("after {fault:?}")).await;
        let recovered = mended.elapsed();
        let before = served.load(Ordering::Relaxed);
        wait_until("the app is served", SOON, async || {
            served.load(Ordering::Relaxed) > before + 10
        })
        .await;
        println!(
            "{fault:?} for {lasts:?}: {made} connections, up after {recovered:?}, the app after {:?}",
            mended.elapsed()
        );
    }
    app.abort();
    for caller in callers {
        assert!(!caller.is_finished(), "two runs of one dependency at once");
        caller.abort();
    }
    // No slot is lost: all can be had at once, and each serves.
    wait_until("every slot serves", SOON, async || {
        let mut good = 0;
        let mut held = (Vec::new(), Vec::new());
        for _ in 0..SIZE {
            let (database, mut store) = (
                timeout(SOON, pg.get()).await.unwrap().unwrap(),
                timeout(SOON, cache.get()).await.unwrap().unwrap(),
            );
            good += u32::from(database.batch_execute("SELECT 1").await.is_ok());
            good += u32::from(cmd("PING").exec_async(&mut *store).await.is_ok());
            held.0.push(database);
            held.1.push(store);
        }
        good == 2 * SIZE
    })
    .await;
    assert!(served.load(Ordering::Relaxed) > 0, "the app was served");
    println!(
        "{rounds} faults, {} requests served",
        served.load(Ordering::Relaxed)
    );
    let most = 2 * SIZE as usize + 4;
    wait_until("nothing has grown", SOON, async || {
        open_descriptors() <= descriptors + 2 * most && self::tasks() <= tasks + most
    })
    .await;
}

async fn until_all_are(health: &Health, status: Status, context: &str) {
    let what = format!("{context}: {status}");
    wait_until(&what, SOON, async || {
        let report = health.report().await;
        report.entries.iter().all(|entry| entry.status == status)
    })
    .await;
}

/// A reason in `report`: a panic, if there is one.
fn reason(report: &Report) -> Option<Reason> {
    let reasons = report.entries.iter().filter_map(|entry| entry.reason);
    reasons.max_by_key(|reason| *reason == Reason::Panicked)
}

/// A check that panics when a second run of it is in flight.
struct Alone<C> {
    check: C,
    running: Arc<AtomicU64>,
}

impl<C> Alone<C> {
    fn new(check: C) -> Self {
        Self {
            check,
            running: Arc::default(),
        }
    }
}

impl<C: Check> Check for Alone<C> {
    async fn check(&self) -> CheckResult {
        let _running = Running::enter(&self.running);
        self.check.check().await
    }
}

/// One run, until it ends or is dropped.
struct Running(Arc<AtomicU64>);

impl Running {
    fn enter(count: &Arc<AtomicU64>) -> Self {
        let running = Self(count.clone());
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two runs at once");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 0 where the system does not tell.
fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A small generator: the seed is printed, and a run can be followed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}
