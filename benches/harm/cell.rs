//! One app under load, with or without a check on its pool.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bb8::{ManageConnection, Pool};
use bb8_postgres::{
    PostgresConnectionManager,
    tokio_postgres::{Client, Config, NoTls, error::SqlState},
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tower_health::{Dependency, Health, checks};

use crate::{
    bounded::bounded,
    route::{Connects, Route, State},
};

/// A request of the app gives up after this.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// A caller of the check that hangs up does so after this.
const HANG_UP: Duration = Duration::from_millis(300);
/// Before the next request, where everything fails at once.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
const SOCKET_PERIOD: Duration = Duration::from_millis(20);

/// How often the check is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probing {
    None,
    /// The same, to see how much two equal runs differ.
    NoneAgain,
    EachSecond,
    FiveTimesASecond,
    /// Twenty callers, each of which hangs up after 300 ms.
    Crowd,
}

impl Probing {
    pub const USUAL: [Self; 4] = [
        Self::None,
        Self::EachSecond,
        Self::FiveTimesASecond,
        Self::NoneAgain,
    ];

    fn period(self) -> Option<Duration> {
        match self {
            Self::None | Self::NoneAgain => None,
            Self::EachSecond => Some(Duration::from_secs(1)),
            Self::FiveTimesASecond => Some(Duration::from_millis(200)),
            Self::Crowd => Some(Duration::from_millis(15)),
        }
    }
}

/// What is the same for all cells of a row.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub round_trip: Duration,
    pub pool_size: u32,
    pub bounded: bool,
    /// Requests at once; the next one begins after `pause`.
    pub tasks: u32,
    pub pause: Duration,
    /// What a request of the app asks the server.
    pub request: &'static str,
    /// The pool does not test at checkout.
    pub untested: bool,
    /// The check's own query.
    pub query: Option<&'static str>,
    /// Connects never end, once the pool is full.
    pub no_connects: bool,
}

/// What the app and the server experienced.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub served: u64,
    pub failed: u64,
    pub latencies: Vec<f64>,
    /// Queries of the app that were cancelled.
    pub killed: u64,
    pub sockets_before: u64,
    pub most_sockets: u64,
}

/// An app that runs.
pub struct Cell {
    route: Arc<Route>,
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counters {
    failed: AtomicU64,
    killed: AtomicU64,
    before: AtomicU64,
    most: AtomicU64,
    latencies: Mutex<Vec<f64>>,
    counts: AtomicBool,
}

impl Cell {
    /// Starts several at once, each at its server's port.
    pub async fn start_all(all: Vec<(u16, Conditions, Probing)>) -> Vec<Self> {
        let starts: Vec<_> = all
            .into_iter()
            .map(|(port, conditions, probing)| tokio::spawn(Self::start(port, conditions, probing)))
            .collect();
        let mut cells = Vec::new();
        for start in starts {
            cells.push(start.await.expect("no panic"));
        }
        cells
    }

    /// Fills a pool to the server at `port`, starts the load and, after it, the check.
    pub async fn start(port: u16, conditions: Conditions, probing: Probing) -> Self {
        let route = Route::start(port, State::distant(conditions.round_trip)).await;
        let mut config = Config::new();
        config.host("127.0.0.1").port(route.port());
        config.user("postgres").dbname("postgres");
        let manager = PostgresConnectionManager::new(config, NoTls);
        let mut cell = Self {
            route: Arc::new(route),
            counters: Arc::default(),
            tasks: JoinSet::new(),
        };
        if conditions.bounded {
            cell.fill(bounded(manager), conditions, probing).await;
        } else {
            cell.fill(manager, conditions, probing).await;
        }
        cell
    }

    async fn fill<M>(&mut self, manager: M, conditions: Conditions, probing: Probing)
    where
        M: ManageConnection<Connection = Client>,
    {
        let size = conditions.pool_size;
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(size)
            .test_on_check_out(!conditions.untested)
            .build(manager)
            .await
            .expect("the server answers");
        if conditions.no_connects {
            self.route.set(State {
                connects: Connects::Never,
                ..State::distant(conditions.round_trip)
            });
        }
        for task in 0..conditions.tasks {
            let (pool, counters) = (pool.clone(), self.counters.clone());
            // Not all at the same moment, again and again.
            let phase = conditions.pause * task / conditions.tasks;
            self.tasks.spawn(async move {
                sleep(phase).await;
                load(pool, conditions, counters).await;
            });
        }
        let (route, counters) = (self.route.clone(), self.counters.clone());
        self.tasks.spawn(count_sockets(route, counters));
        if let Some(period) = probing.period() {
            let check = checks::postgres(pool);
            let check = match conditions.query {
                Some(sql) => check.query(sql),
                None => check,
            };
            let dependency = Dependency::new("database", check);
            let dependency = match probing {
                // A prober that asks each second.
                Probing::EachSecond => dependency,
                _ => dependency.cache_for(period.min(Duration::from_millis(190))),
            };
            let health = Health::builder().add(dependency).build();
            self.tasks.spawn(ask(health, period, probing));
        } else {
            // As long as the pool of the others.
            self.tasks.spawn(async move {
                let _pool = pool;
                std::future::pending().await
            });
        }
    }

    /// Counts from now on.
    pub fn begin(&self) {
        let now = self.route.at_server();
        self.counters.before.store(now, Ordering::Relaxed);
        self.counters.most.store(now, Ordering::Relaxed);
        self.counters.counts.store(true, Ordering::Relaxed);
    }

    /// Ends the app.
    pub async fn end(mut self) -> Measured {
        self.counters.counts.store(false, Ordering::Relaxed);
        self.tasks.shutdown().await;
        let mut latencies = self.counters.latencies.lock().expect("no panic");
        let latencies = std::mem::take(&mut *latencies);
        Measured {
            served: latencies.len() as u64,
            failed: self.counters.failed.load(Ordering::Relaxed),
            latencies,
            killed: self.counters.killed.load(Ordering::Relaxed),
            sockets_before: self.counters.before.load(Ordering::Relaxed),
            most_sockets: self.counters.most.load(Ordering::Relaxed),
        }
    }
}

async fn load<M>(pool: Pool<M>, conditions: Conditions, counters: Arc<Counters>)
where
    M: ManageConnection<Connection = Client>,
{
    loop {
        let start = Instant::now();
        let request = async {
            let client = pool.get().await.ok()?;
            Some(client.simple_query(conditions.request).await)
        };
        let result = timeout(REQUEST_LIMIT, request).await;
        let worked = matches!(result, Ok(Some(Ok(_))));
        if counters.counts.load(Ordering::Relaxed) {
            if worked {
                let time = start.elapsed().as_secs_f64();
                counters.latencies.lock().expect("no panic").push(time);
            } else {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            }
            if let Ok(Some(Err(error))) = result {
                let killed = error.code() == Some(&SqlState::QUERY_CANCELED);
                counters.killed.fetch_add(killed.into(), Ordering::Relaxed);
            }
        }
        let least = if worked {
            Duration::ZERO
        } else {
            AFTER_FAILURE
        };
        sleep(conditions.pause.max(least)).await;
    }
}

async fn count_sockets(route: Arc<Route>, counters: Arc<Counters>) {
    let mut ticks = interval(SOCKET_PERIOD);
    loop {
        ticks.tick().await;
        counters
            .most
            .fetch_max(route.at_server(), Ordering::Relaxed);
    }
}

/// Asks as probers do: whether or not the last answer has come.
async fn ask(health: Health, period: Duration, probing: Probing) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut callers = JoinSet::new();
    let limit = match probing {
        Probing::Crowd => HANG_UP,
        _ => Duration::from_secs(1),
    };
    loop {
        ticks.tick().await;
        while callers.try_join_next().is_some() {}
        let health = health.clone();
        callers.spawn(async move { timeout(limit, health.report()).await.is_ok() });
    }
}
