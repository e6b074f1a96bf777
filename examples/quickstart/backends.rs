//! The stores of the app: the server at a URL, a private server, or memory.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bb8_postgres::{
    PostgresConnectionManager,
    tokio_postgres::{Config, NoTls},
};
use bb8_redis::{RedisConnectionManager, redis::AsyncCommands};
use tower_health::{
    Dependency, Health, Outcome,
    checks::{self, ConnectTimeoutManager},
};

use crate::support::{self, Postgres, Redis};

// Without the limit, a connect that hangs would hold its place in the pool permanently.
type PostgresPool = bb8::Pool<ConnectTimeoutManager<PostgresConnectionManager<NoTls>>>;
type RedisPool = bb8::Pool<ConnectTimeoutManager<RedisConnectionManager>>;

/// Below the 30 s of bb8: requests must not pile up while a server is down.
const CONNECTION_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A store, and the private server for it if there is one.
pub(crate) struct Backend<S, P> {
    name: &'static str,
    store: S,
    /// Stops when this value is dropped.
    _private: Option<P>,
}

#[derive(Clone)]
pub(crate) enum Database {
    Postgres(PostgresPool),
    Memory(Arc<AtomicI64>),
}

#[derive(Clone)]
pub(crate) enum Cache {
    Redis(RedisPool),
    Memory(Arc<AtomicI64>),
}

pub(crate) async fn database() -> Result<Backend<Database, Postgres>, String> {
    let private = match url("DATABASE_URL") {
        Some(_) => None,
        None if support::postgres_is_installed() => {
            println!("DATABASE_URL is not set: starting a private Postgres server");
            Some(Postgres::start().await)
        }
        None => {
            in_memory("DATABASE_URL", "postgresql")?;
            let store = Database::Memory(Arc::default());
            return Ok(Backend::new("database", store, None));
        }
    };
    let url = private.as_ref().map(Postgres::url).or(url("DATABASE_URL"));
    let mut config: Config = url
        .unwrap_or_default()
        .parse()
        // Without the URL: it holds the password.
        .map_err(|_| "DATABASE_URL is not the URL of a Postgres database")?;
    // Otherwise broken connections stay in the pool until TCP gives up, after 15 minutes.
    config
        .connect_timeout(Duration::from_secs(2))
        .tcp_user_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(30));
    let manager = PostgresConnectionManager::new(config, NoTls);
    let pool = bb8::Pool::builder()
        .connection_timeout(CONNECTION_TIMEOUT)
        .build_unchecked(ConnectTimeoutManager::new(manager));
    Ok(Backend::new("database", Database::Postgres(pool), private))
}

pub(crate) async fn cache() -> Result<Backend<Cache, Redis>, String> {
    let private = match url("REDIS_URL") {
        Some(_) => None,
        None if support::redis_is_installed() => {
            println!("REDIS_URL is not set: starting a private Redis server");
            Some(Redis::start().await)
        }
        None => {
            in_memory("REDIS_URL", "redis-server")?;
            let store = Cache::Memory(Arc::default());
            return Ok(Backend::new("cache", store, None));
        }
    };
    let url = private.as_ref().map(Redis::url).or(url("REDIS_URL"));
    let manager = RedisConnectionManager::new(url.unwrap_or_default())
        .map_err(|_| "REDIS_URL is not the URL of a Redis server")?;
    let pool = bb8::Pool::builder()
        .connection_timeout(CONNECTION_TIMEOUT)
        .build_unchecked(ConnectTimeoutManager::new(manager));
    Ok(Backend::new("cache", Cache::Redis(pool), private))
}

/// Warns that memory replaces the server; an error outside demo mode.
fn in_memory(variable: &str, package: &str) -> Result<(), String> {
    if env::var("DEMO_MODE").as_deref() == Ok("true") {
        eprintln!(
            "warning: {variable} is not set and {package} is not installed: memory replaces it"
        );
        return Ok(());
    }
    Err(format!(
        "{variable} is not set, and the demo finds no server to start. Set {variable}, or install \
         {package} (apt-get install {package}), or set DEMO_MODE=true to use memory"
    ))
}

/// Subscribes, so that checks run without probes and each transition is logged when it occurs.
pub(crate) fn keep_checking(health: &Health) {
    let mut transitions = health.subscribe();
    tokio::spawn(async move { while transitions.recv().await.is_some() {} });
}

fn url(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|url| !url.is_empty())
}

impl<S: Clone, P> Backend<S, P> {
    fn new(name: &'static str, store: S, private: Option<P>) -> Self {
        Self {
            name,
            store,
            _private: private,
        }
    }

    pub(crate) fn store(&self) -> S {
        self.store.clone()
    }
}

impl<P> Backend<Database, P> {
    pub(crate) fn dependency(&self) -> Dependency {
        match &self.store {
            // The app writes: on a read-only standby each request would fail.
            Database::Postgres(pool) => {
                Dependency::new(self.name, checks::postgres(pool.clone()).read_write())
            }
            Database::Memory(_) => memory(self.name),
        }
    }
}

impl<P> Backend<Cache, P> {
    pub(crate) fn dependency(&self) -> Dependency {
        match &self.store {
            Cache::Redis(pool) => Dependency::new(self.name, checks::redis(pool.clone())),
            Cache::Memory(_) => memory(self.name),
        }
    }
}

fn memory(name: &'static str) -> Dependency {
    Dependency::new(
        name,
        async || Ok(Outcome::up().observe("backend", "memory")),
    )
    .kind("memory")
}

impl Database {
    /// Writes a visit and returns the number of visits; `None` if the database fails.
    pub(crate) async fn visit(&self) -> Option<i64> {
        let pool = match self {
            Self::Postgres(pool) => pool,
            Self::Memory(count) => return Some(count.fetch_add(1, Ordering::Relaxed) + 1),
        };
        let client = pool.get().await.ok()?;
        client
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS visits (at timestamptz NOT NULL DEFAULT now()); \
                 INSERT INTO visits DEFAULT VALUES",
            )
            .await
            .ok()?;
        let row = client.query_one("SELECT count(*) FROM visits", &[]).await;
        row.ok()?.try_get(0).ok()
    }
}

impl Cache {
    /// Increments the counter; `None` if Redis fails.
    pub(crate) async fn hit(&self) -> Option<i64> {
        match self {
            Self::Redis(pool) => {
                let mut connection = pool.get().await.ok()?;
                connection.incr("hits", 1).await.ok()
            }
            Self::Memory(count) => Some(count.fetch_add(1, Ordering::Relaxed) + 1),
        }
    }
}
