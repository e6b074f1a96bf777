//! The databases and caches that the environment names.

use std::{collections::BTreeMap, env, time::Duration};

use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
use bb8_redis::RedisConnectionManager;
use tower_health::{
    Dependency,
    checks::{self, ConnectTimeoutManager},
};

/// Each request runs the checks, at most 1,000 times a second: no result from before a fault is returned.
const CACHE_FOR: Duration = Duration::from_millis(1);
/// The longest wait of a request for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_millis(1_500);

/// One dependency for each, the default first and the others by name.
pub(crate) fn configured() -> Result<Vec<Dependency>, String> {
    let mut found = Vec::new();
    for (variable, name, url) in urls("DATABASE_URL") {
        found.push(database(&variable, format!("database.{name}"), &url)?);
    }
    for (variable, name, url) in urls("REDIS_URL") {
        found.push(cache(&variable, format!("cache.{name}"), &url)?);
    }
    if found.is_empty() {
        tracing::warn!("neither DATABASE_URL nor REDIS_URL is set: no backend is checked");
    }
    Ok(found
        .into_iter()
        .map(|backend| backend.cache_for(CACHE_FOR))
        .collect())
}

fn database(variable: &str, name: String, url: &str) -> Result<Dependency, String> {
    // Without the text of the error: it may quote the URL, which holds the password.
    let config = url
        .parse()
        .map_err(|_| format!("{variable} is not the URL of a Postgres database"))?;
    let manager = ConnectTimeoutManager::new(PostgresConnectionManager::new(config, NoTls));
    let pool = bb8::Pool::builder()
        .connection_timeout(CONNECTION_TIMEOUT)
        .build_unchecked(manager);
    let check = checks::postgres(pool).query("SELECT 1");
    Dependency::try_new(name, check).map_err(|error| format!("{variable}: {error}"))
}

fn cache(variable: &str, name: String, url: &str) -> Result<Dependency, String> {
    let manager = RedisConnectionManager::new(url);
    let manager = manager.map_err(|_| format!("{variable} is not the URL of a Redis server"))?;
    let pool = bb8::Pool::builder()
        .connection_timeout(CONNECTION_TIMEOUT)
        .build_unchecked(ConnectTimeoutManager::new(manager));
    let check = checks::redis(pool).write_and_read_back();
    Dependency::try_new(name, check).map_err(|error| format!("{variable}: {error}"))
}

/// `(variable, name, URL)` of `{prefix}`, called `default`, and of each `{prefix}_{NAME}`.
fn urls(prefix: &str) -> Vec<(String, String, String)> {
    // By name: a `BTreeMap` gives the same order at each start, and so the same answer.
    let named: BTreeMap<_, _> = env::vars_os()
        .filter_map(|(variable, url)| Some((variable.into_string().ok()?, url.into_string().ok()?)))
        .filter(|(_, url)| !url.is_empty())
        .filter_map(|(variable, url)| {
            let name = match variable.strip_prefix(prefix)? {
                "" => "default".to_owned(),
                rest => rest.strip_prefix('_')?.to_lowercase(),
            };
            Some(((name != "default", name.clone()), (variable, name, url)))
        })
        .collect();
    named.into_values().collect()
}
