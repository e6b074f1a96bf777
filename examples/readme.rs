//! The quick start of the README: bind first, one Postgres check, drain on SIGTERM.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --example readme --features axum,signal,tracing
//! curl -i localhost:3000/readyz
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `DATABASE_URL` | none: it is required | Postgres |
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
#![allow(missing_docs)]

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use bb8_postgres::{
    PostgresConnectionManager,
    tokio_postgres::{Config, NoTls},
};
use tokio::net::TcpListener;
use tower_health::{
    Access, Health, HealthLayer,
    checks::{self, ConnectTimeoutManager},
};

type Pool = bb8::Pool<ConnectTimeoutManager<PostgresConnectionManager<NoTls>>>;

/// In production longer than load balancers need to notice: 5 s fit a Kubernetes service.
const DRAIN: Duration = Duration::from_secs(1);

fn pool() -> Result<Pool, Box<dyn Error>> {
    let mut config: Config = env::var("DATABASE_URL")?.parse()?;
    // The TCP connect, unacknowledged data, and silent connections.
    config.connect_timeout(Duration::from_secs(2));
    config.tcp_user_timeout(Duration::from_secs(5));
    config.keepalives_idle(Duration::from_secs(30));
    // TCP, TLS and login together take 2 s at most.
    let manager = ConnectTimeoutManager::new(PostgresConnectionManager::new(config, NoTls));
    Ok(bb8::Pool::builder()
        // Below the timeouts of clients: bb8 waits for 30 s by default.
        .connection_timeout(Duration::from_secs(3))
        .build_unchecked(manager))
}

fn app(pool: Pool, health: Health) -> Router {
    Router::new()
        .route("/", get(sleep_for_2s))
        .with_state(pool)
        .layer(HealthLayer::new(health).details(Access::loopback()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let pool = pool()?;
    let health = Health::builder()
        .check("database", checks::postgres(pool.clone()))
        .build();
    let app = app(pool, health.clone()).into_make_service_with_connect_info::<SocketAddr>();

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    // `/startupz` and `/readyz` are 503 until the database is up.
    let listener = TcpListener::bind(addr).await?;
    println!("http://{}/readyz", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(health.drain_on_shutdown_signal(DRAIN))
        .await?;
    Ok(())
}

/// A slow request: the drain lets it finish.
async fn sleep_for_2s(State(pool): State<Pool>) -> Result<&'static str, StatusCode> {
    let unavailable = |_| StatusCode::SERVICE_UNAVAILABLE;
    let connection = pool.get().await.map_err(unavailable)?;
    let query = connection.batch_execute("SELECT pg_sleep(2)");
    query.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("hello\n")
}
