//! Metrics of every check and probe for Prometheus, on a separate port.
//!
//! ```sh
//! DATABASE_URL=postgres://… REDIS_URL=redis://… cargo run --example exporter --features axum,metrics,signal,tracing
//! curl localhost:9464/metrics
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | where the app listens |
//! | `METRICS_ADDR` | `127.0.0.1:9464` | where Prometheus scrapes, away from the public port: metrics name dependencies |
//! | `DATABASE_URL` | `postgres://postgres@127.0.0.1/postgres` | Postgres |
//! | `REDIS_URL` | `redis://127.0.0.1` | Redis |
//!
//! Rules and a scrape configuration are in `deploy/prometheus`, a dashboard in `deploy/grafana`.
#![allow(missing_docs)]

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use bb8_postgres::{PostgresConnectionManager, tokio_postgres::NoTls};
use bb8_redis::RedisConnectionManager;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tower_health::{
    Access, Dependency, Health, HealthLayer,
    checks::{self, ConnectTimeoutManager},
    metrics::{CHECK_DURATION_SECONDS, DURATION_BUCKETS},
};

/// Longer than load balancers need to notice.
const DRAIN: Duration = Duration::from_secs(5);
/// The period in which the recorder moves samples into buckets, with or without scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

fn install() -> Result<PrometheusHandle, Box<dyn Error>> {
    // Without buckets a histogram becomes a summary, which cannot be aggregated over instances.
    let duration = Matcher::Full(CHECK_DURATION_SECONDS.to_owned());
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(duration, &DURATION_BUCKETS)?
        .install_recorder()?;
    let upkeep = exporter.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(exporter)
}

fn health(database: &str, cache: &str) -> Result<Health, Box<dyn Error>> {
    // Without the URL in the message: it holds the password.
    let database = database.parse().map_err(|_| "DATABASE_URL is not a URL")?;
    let postgres = bb8::Pool::builder().build_unchecked(ConnectTimeoutManager::new(
        PostgresConnectionManager::new(database, NoTls),
    ));
    let manager = RedisConnectionManager::new(cache).map_err(|_| "REDIS_URL is not a URL")?;
    let redis = bb8::Pool::builder().build_unchecked(ConnectTimeoutManager::new(manager));
    Ok(Health::builder()
        .check("database", checks::postgres(postgres))
        .add(Dependency::new("cache", checks::redis(redis)).optional())
        // Otherwise checks run with probes only, and the metrics do not change without probes.
        .refresh_every(Duration::from_secs(1))
        .build())
}

fn app(health: Health) -> Router {
    Router::new()
        .route("/", get(async || "hello\n"))
        .layer(HealthLayer::new(health).details(Access::loopback()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    // Before the first check and the first probe, so that all are counted.
    let exporter = install()?;
    let health = health(
        &variable("DATABASE_URL", "postgres://postgres@127.0.0.1/postgres"),
        &variable("REDIS_URL", "redis://127.0.0.1"),
    )?;
    let listener = TcpListener::bind(variable("ADDR", "127.0.0.1:3000")).await?;
    let scraped = TcpListener::bind(variable("METRICS_ADDR", "127.0.0.1:9464")).await?;
    println!("http://{}/health", listener.local_addr()?);
    println!("http://{}/metrics", scraped.local_addr()?);

    let metrics = Router::new().route("/metrics", get(async move || exporter.render()));
    tokio::spawn(axum::serve(scraped, metrics).into_future());
    let draining = health.drain_on_shutdown_signal(DRAIN);
    let app = app(health).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(draining)
        .await?;
    Ok(())
}
