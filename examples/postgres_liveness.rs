//! One database: `/health` is healthy if `SELECT 1` succeeds on the app's own pool.
//!
//! ```sh
//! POSTGRES_HOST=127.0.0.1 POSTGRES_DB=app POSTGRES_USER=app POSTGRES_PASSWORD=… \
//!     cargo run --example postgres_liveness --features axum,signal,tracing
//! curl -i localhost:3000/health
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `POSTGRES_HOST` | none: it is required | name, address or directory of the socket |
//! | `POSTGRES_PORT` | `5432` | |
//! | `POSTGRES_DB` | none: it is required | |
//! | `POSTGRES_USER` | none: it is required | |
//! | `POSTGRES_PASSWORD` | no password | |
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//!
//! 1. The answer is `{"status":"healthy"}` with 200 or `{"status":"unhealthy"}` with 503, without details.
//! 2. Each request runs the check, except within 1 ms of the last run. A connection may take 5 s to
//!    open, so an unresponsive server is unhealthy after 5 s. A kubelet needs `timeoutSeconds: 6`; the
//!    log warns about it at the start.
//! 3. The app itself checks each second. After three failures in a row it logs one line that begins with
//!    `ALERT`, and after the recovery one with `RESOLVED`.
//! 4. After SIGTERM or Ctrl-C the app answers requests for 1 s more.
//!
//! The app starts without its database. Do not point a liveness probe at `/health`: it would restart
//! every replica when the database is down. Point readiness at it.
#![allow(missing_docs)]

use std::{env, net::SocketAddr, process::ExitCode, time::Duration};

use axum::{Router, ServiceExt, extract::Request, http::StatusCode, routing::get};
use bb8_postgres::{
    PostgresConnectionManager,
    tokio_postgres::{Config, NoTls},
};
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tower::Layer;
use tower_health::{
    Dependency, Format, Health, HealthLayer, Probe,
    checks::{self, ConnectTimeoutManager},
    render::{Render, View},
};

type Pool = bb8::Pool<ConnectTimeoutManager<PostgresConnectionManager<NoTls>>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than load balancers need to notice; 5 s fit a Kubernetes service.
const DRAIN: Duration = Duration::from_secs(1);
/// Each request runs the check, at most 1,000 times a second: no result from before a fault is returned.
const CACHE_FOR: Duration = Duration::from_millis(1);
const ALERT_AFTER: u32 = 3;
const ALERT_PERIOD: Duration = Duration::from_secs(1);

/// `{"status":"healthy"}` or `{"status":"unhealthy"}`.
struct Healthy;

impl Render for Healthy {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let status = match view.status().is_serving() {
            true => "healthy",
            false => "unhealthy",
        };
        format!(r#"{{"status":"{status}"}}"#).into_bytes()
    }
}

fn pool() -> Result<Pool, String> {
    let port = match variable("POSTGRES_PORT") {
        Some(port) => {
            (port.parse()).map_err(|_| format!("POSTGRES_PORT {port:?} is not a port"))?
        }
        None => 5432,
    };
    let mut config = Config::new();
    config
        .host(required("POSTGRES_HOST")?)
        .port(port)
        .dbname(required("POSTGRES_DB")?)
        .user(required("POSTGRES_USER")?)
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(password) = variable("POSTGRES_PASSWORD") {
        config.password(password);
    }
    // The driver's own limit covers the TCP connect only; this one covers DNS and login, too.
    let manager = ConnectTimeoutManager::new(PostgresConnectionManager::new(config, NoTls))
        .connect_timeout(CONNECT_TIMEOUT);
    Ok(bb8::Pool::builder()
        .connection_timeout(CONNECT_TIMEOUT)
        .build_unchecked(manager))
}

fn health(pool: Pool) -> Health {
    let check = checks::postgres(pool).query("SELECT 1");
    let database = Dependency::new("database", check)
        .timeout(CONNECT_TIMEOUT)
        .cache_for(CACHE_FOR);
    Health::builder()
        .add(database)
        .answer_within(CONNECT_TIMEOUT + Duration::from_millis(250))
        .build()
}

/// Logs once after three failures in a row, and once after the recovery.
async fn alert(health: Health) {
    let mut ticks = tokio::time::interval(ALERT_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alerted = false;
    loop {
        ticks.tick().await;
        for entry in health.report().await.entries {
            let (failures, reason) = (entry.consecutive_failures, entry.reason);
            if failures >= ALERT_AFTER && !alerted {
                alerted = true;
                let reason = reason.map_or("", |reason| reason.as_str());
                tracing::error!(
                    "ALERT: {} failed {failures} times in a row: {reason}",
                    entry.name
                );
            } else if alerted && entry.status.is_serving() {
                alerted = false;
                tracing::info!("RESOLVED: {} is healthy again", entry.name);
            }
        }
    }
}

/// The app's own use of the pool.
async fn now(pool: Pool) -> Result<String, StatusCode> {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let connection = pool.get().await.map_err(|_| unavailable)?;
    let row = connection.query_one("SELECT now()::text", &[]).await;
    Ok(row.map_err(|_| unavailable)?.get(0))
}

async fn run() -> Result<(), String> {
    let pool = pool()?;
    let health = health(pool.clone());
    let addr = variable("ADDR").unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&addr)
        .await
        .map_err(|error| format!("ADDR {addr}: {error}"))?;
    let addr = listener.local_addr().map_err(|error| error.to_string())?;
    println!("http://{addr}/health");

    tokio::spawn(alert(health.clone()));
    let draining = health.drain_on_shutdown_signal(DRAIN);
    let app = HealthLayer::new(health)
        .without_default_paths()
        .path_with_format("/health", Probe::Full, Format::custom(Healthy))
        .keep_body_type()
        .layer(Router::new().route("/", get(move || now(pool.clone()))));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
    axum::serve(listener, app)
        .with_graceful_shutdown(draining)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn required(name: &str) -> Result<String, String> {
    variable(name).ok_or_else(|| format!("{name} environment variable is required"))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
