//! One run of a check, and the app that shares the pool with it: its requests and its load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bb8::{ManageConnection, Pool, PooledConnection};
use bb8_postgres::PostgresConnectionManager;
use bb8_redis::{
    RedisConnectionManager,
    redis::{aio::MultiplexedConnection, cmd},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_postgres::{Client, Config, NoTls};
use tower_health::Check;

pub use crate::answer::{Answer, UP, answer, degraded, down};
use crate::support::{Postgres, Proxy, Redis, judged_on_time, wait_until};

/// The default timeout of a dependency, which is the deadline of a run.
pub const RUN: Duration = Duration::from_millis(800);

/// How long a condition is awaited on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

pub type PostgresManager = PostgresConnectionManager<NoTls>;

/// One run of a dependency with the default timeout.
pub async fn run(check: &impl Check) -> Answer {
    // On a busy machine the end may be late; the result is still that of the check.
    let result = timeout(RUN + SOON, check.check_until(Instant::now() + RUN)).await;
    answer(&result.expect("a run ends"))
}

/// Asserts the answer of a run, unless the machine was late.
pub async fn assert_run(check: &impl Check, expected: Answer, context: &str) {
    assert_run_in(check, &[expected], context).await;
}

/// The same with several answers that are right.
pub async fn assert_run_in(check: &impl Check, allowed: &[Answer], context: &str) {
    let is_allowed = |found: &Answer| allowed.contains(found);
    let found = judged_on_time(async || run(check).await, is_allowed).await;
    assert!(is_allowed(&found), "{context}: {found:?}, not {allowed:?}");
}

/// Asserts that runs in a row are up, take one round trip each and open no connection.
pub async fn assert_one_round_trip(check: &impl Check, proxy: &Proxy, runs: u64, context: &str) {
    // On a late machine a run may open a connection; the next run closes it.
    wait_until(context, SOON, async || {
        let before = (proxy.round_trips(), proxy.connections());
        let mut is_up = true;
        for _ in 0..runs {
            is_up &= run(check).await == UP;
        }
        let trips = proxy.round_trips() - before.0;
        is_up && (trips, proxy.connections() - before.1) == (runs, 0)
    })
    .await;
}

pub fn pool<M: ManageConnection>(manager: M, size: u32, tested: bool) -> Pool<M> {
    Pool::builder()
        .max_size(size)
        .test_on_check_out(tested)
        .build_unchecked(manager)
}

/// A pool with or without a test at checkout.
pub fn postgres_pool(config: Config, size: u32, tested: bool) -> Pool<PostgresManager> {
    pool(PostgresConnectionManager::new(config, NoTls), size, tested)
}

/// A pool whose connections are open and go through a route.
pub async fn routed(server: &Postgres, size: u32, tested: bool) -> (Proxy, Pool<PostgresManager>) {
    let proxy = Proxy::start(server.port()).await;
    let pool = postgres_pool(server.config_through(proxy.port()), size, tested);
    warm(&pool, size).await;
    (proxy, pool)
}

pub fn redis_pool(url: String, size: u32, tested: bool) -> Pool<RedisConnectionManager> {
    pool(RedisConnectionManager::new(url).unwrap(), size, tested)
}

/// Makes the pool open `count` connections, which are idle afterwards.
pub async fn warm<M: ManageConnection>(pool: &Pool<M>, count: u32) {
    drop(hold(pool, count).await);
}

/// `count` checkouts at the same time.
pub async fn hold<M: ManageConnection>(
    pool: &Pool<M>,
    count: u32,
) -> Vec<PooledConnection<'static, M>> {
    let mut held = Vec::new();
    for _ in 0..count {
        wait_until("a connection is checked out", SOON, async || {
            let checkout = pool.get_owned().await.ok();
            let is_some = checkout.is_some();
            held.extend(checkout);
            is_some
        })
        .await;
    }
    held
}

/// Runs a command whose words are separated by spaces.
pub async fn command(server: &Redis, text: &str) {
    let mut words = text.split(' ');
    let mut command = cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>());
    let mut connection = server.connection().await;
    command.exec_async(&mut connection).await.unwrap();
}

/// A connection that answers requests of the app.
pub trait Served {
    fn serve(&mut self) -> impl Future<Output = bool> + Send;
}

impl Served for Client {
    async fn serve(&mut self) -> bool {
        self.simple_query("SELECT 1").await.is_ok()
    }
}

impl Served for MultiplexedConnection {
    async fn serve(&mut self) -> bool {
        cmd("GET").arg("key").exec_async(self).await.is_ok()
    }
}

/// Whether a request of the app is served within a second.
pub async fn is_served<M: ManageConnection<Connection: Served>>(pool: &Pool<M>) -> bool {
    let request = async {
        let mut connection = pool.get().await.ok()?;
        Some(connection.serve().await)
    };
    timeout(Duration::from_secs(1), request).await == Ok(Some(true))
}

/// How many of five requests of the app at the same time are served.
pub async fn served<M: ManageConnection<Connection: Served>>(pool: &Pool<M>) -> u32 {
    let mut requests = JoinSet::new();
    for _ in 0..5 {
        let pool = pool.clone();
        requests.spawn(async move { is_served(&pool).await });
    }
    requests.join_all().await.into_iter().map(u32::from).sum()
}

/// Requests of the app: tasks that check out a connection and send a query, until this is dropped.
#[derive(Debug)]
pub struct Load {
    served: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Load {
    pub fn start<M>(pool: &Pool<M>, tasks: usize, sql: &'static str) -> Self
    where
        M: ManageConnection<Connection = Client>,
    {
        let served = Arc::new(AtomicU64::new(0));
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            let (pool, served) = (pool.clone(), served.clone());
            set.spawn(async move {
                loop {
                    if let Ok(connection) = pool.get().await
                        && connection.simple_query(sql).await.is_ok()
                    {
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    // A request that fails at once must not use the processor alone.
                    tokio::task::yield_now().await;
                }
            });
        }
        Self {
            served,
            _tasks: set,
        }
    }

    /// Waits until `count` more requests are served.
    pub async fn until_served(&self, count: u64) {
        let served = || self.served.load(Ordering::Relaxed);
        let before = served();
        wait_until("requests are served", SOON, async || {
            served() >= before + count
        })
        .await;
    }
}
