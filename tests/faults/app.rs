//! The app beside the check: its pool, its requests and its load; and one run of the check.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bb8_postgres::PostgresConnectionManager;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{Client, Config, NoTls};
use tower_health::{Check, Reason, checks::ConnectTimeoutManager};

use crate::answer::{Answer, answer, down};

/// The timeout of a dependency by default, which is a run's deadline.
pub const RUN: Duration = Duration::from_millis(800);

/// How long a condition is awaited on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

pub type PostgresManager = PostgresConnectionManager<NoTls>;

/// A pool with or without a test at checkout.
pub fn postgres_pool(config: Config, size: u32, tested: bool) -> bb8::Pool<PostgresManager> {
    bb8::Pool::builder()
        .max_size(size)
        .test_on_check_out(tested)
        .build_unchecked(PostgresConnectionManager::new(config, NoTls))
}

/// `manager` with an end to its connects, by the default limit.
pub fn with_connect_timeout<M>(manager: M) -> ConnectTimeoutManager<M> {
    ConnectTimeoutManager::new(manager)
}

/// One run as a dependency makes it: with the default timeout, dropped at its end.
pub async fn run(check: &impl Check) -> Answer {
    run_within(check, RUN).await
}

/// One run of a dependency with this timeout.
pub async fn run_within(check: &impl Check, limit: Duration) -> Answer {
    let deadline = Instant::now() + limit;
    match timeout_at(deadline, check.check_until(deadline)).await {
        Ok(result) => answer(&result),
        Err(_) => down(Reason::Timeout),
    }
}

/// Makes the pool open `count` connections, which then idle in it.
pub async fn warm<M: bb8::ManageConnection>(pool: &bb8::Pool<M>, count: u32) {
    drop(hold(pool, count).await);
}

/// `count` checkouts at once.
pub async fn hold<M: bb8::ManageConnection>(
    pool: &bb8::Pool<M>,
    count: u32,
) -> Vec<bb8::PooledConnection<'static, M>> {
    let mut held = Vec::new();
    for _ in 0..count {
        let checkout = timeout(SOON, pool.get_owned()).await;
        held.push(checkout.expect("in time").expect("a connection"));
    }
    held
}

/// Whether a request of the app's is answered within a second.
pub async fn is_served<M>(pool: &bb8::Pool<M>) -> bool
where
    M: bb8::ManageConnection<Connection = Client>,
{
    let request = async {
        let connection = pool.get().await.ok()?;
        connection.simple_query("SELECT 1").await.ok()
    };
    timeout(Duration::from_secs(1), request)
        .await
        .is_ok_and(|answer| answer.is_some())
}

/// The same for a Redis.
pub async fn redis_is_served<M>(pool: &bb8::Pool<M>) -> bool
where
    M: bb8::ManageConnection<Connection = bb8_redis::redis::aio::MultiplexedConnection>,
{
    let request = async {
        let mut connection = pool.get().await.ok()?;
        let get = bb8_redis::redis::cmd("GET")
            .arg("a key")
            .to_owned()
            .exec_async(&mut *connection)
            .await;
        get.ok()
    };
    timeout(Duration::from_secs(1), request)
        .await
        .is_ok_and(|answer| answer.is_some())
}

/// The app's load: tasks that check out a connection and query, again and again.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    // Dropped, it ends the tasks.
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    served: AtomicU64,
}

impl Load {
    /// Starts `tasks` tasks on `pool`, each with `sql`.
    pub fn start<M>(pool: &bb8::Pool<M>, tasks: usize, sql: &'static str) -> Self
    where
        M: bb8::ManageConnection<Connection = Client>,
    {
        let counts = Arc::new(Counts::default());
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            let (pool, counts) = (pool.clone(), counts.clone());
            set.spawn(async move {
                loop {
                    counts.request(&pool, sql).await;
                }
            });
        }
        Self {
            counts,
            _tasks: set,
        }
    }
}

impl Load {
    /// Requests that were answered so far.
    pub fn served(&self) -> u64 {
        self.counts.served.load(Ordering::Relaxed)
    }
}

impl Counts {
    async fn request<M>(&self, pool: &bb8::Pool<M>, sql: &str)
    where
        M: bb8::ManageConnection<Connection = Client>,
    {
        if let Ok(connection) = pool.get().await
            && connection.simple_query(sql).await.is_ok()
        {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        // A request that fails at once must not take the processor for itself.
        tokio::task::yield_now().await;
    }
}
