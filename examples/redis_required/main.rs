//! Redis is mandatory: it holds the counters of a rate limiter and a queue, so the app cannot serve without it.
//!
//! ```sh
//! REDIS_URL=redis://127.0.0.1 cargo run --example redis_required --features axum,signal,tracing
//! curl -i localhost:3000/health
//! curl -i localhost:3000/admin/health/redis
//! curl -i localhost:3000/jobs --data 'a job'
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `REDIS_URL` | none: it is required | `redis://[user][:password@]host[:port][/database]` |
//! | `DEMO_MODE` | `false` | with `true`, memory replaces a Redis that is down at the start |
//! | `ENVIRONMENT` | `development` | shown by `/health` |
//! | `RATE_LIMIT` | `60` | jobs a minute that one address may leave |
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//!
//! 1. The start prints one line for each step: `✓`, or `⚠` for a warning. The first step that fails prints
//!    `❌ Redis validation failed: …` without the login, and the exit code is 1. Redis gets 3 s to answer.
//! 2. `/health`, for every caller: 503 if Redis or the queue is down, except in demo mode.
//!    `{"status":"healthy","version":"2.0.0","environment":"production","redis":{"status":"connected","backend":"redis"},"queue":{"status":"connected","backend":"redis","queue_depth":0}}`
//! 3. `/admin/health/redis`, for this host only: 403 for other callers.
//!    `{"counter_backend":{"status":"connected","backend":"redis"},"queue_service":{"status":"connected","backend":"redis","queue_depth":0},"demo_mode":false}`
//!    While Redis is down both are 503, with `unhealthy`, `disconnected` and `queue_depth` null.
//! 4. `POST /jobs` adds a job and `POST /jobs/next` takes the oldest; 429 over the limit. While Redis is
//!    down both are 503: without counters the limiter accepts no job.
//! 5. After SIGTERM or Ctrl-C the app answers requests for 1 s more.
#![allow(missing_docs)]

mod answer;
mod app;
mod settings;
mod store;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use axum::{ServiceExt, extract::Request};
use tokio::net::TcpListener;
use tower::Layer;
use tower_health::{
    Access, Format, Health, HealthLayer, Probe, health::NotReady, service::mode::KeepBody,
};

use crate::{
    answer::{Admin, Overview},
    settings::Settings,
    store::Store,
};

const VERSION: &str = "2.0.0";
/// Longer than load balancers need to notice; 5 s fit a Kubernetes service.
const DRAIN: Duration = Duration::from_secs(1);
/// The time for Redis to answer at the start: it may be starting, too.
const START_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("❌ {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let listener = TcpListener::bind(&settings.addr).await;
    let listener = listener.map_err(|error| format!("ADDR {}: {error}", settings.addr))?;
    let store = match start(&settings).await {
        Ok(store) => store,
        Err(error) if settings.demo => {
            eprintln!("⚠ Redis validation failed: {error}");
            eprintln!("⚠ demo mode: counters and queue are in memory, until this process ends");
            Store::in_memory()
        }
        Err(error) => return Err(format!("Redis validation failed: {error}").into()),
    };
    // In demo mode a later failure is reported as degraded.
    let health = health(&store, &settings.environment, !settings.demo);
    let draining = health.drain_on_shutdown_signal(DRAIN);
    println!("✓ listening: http://{}/health", listener.local_addr()?);
    let (overview, admin) = layers(health, settings.demo);
    let app = (overview, admin).layer(app::router(store, settings.rate_limit));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
    axum::serve(listener, app)
        .with_graceful_shutdown(draining)
        .await?;
    Ok(())
}

/// Validates Redis step by step, and prints each step that succeeds.
async fn start(settings: &Settings) -> Result<Store, String> {
    let url = settings.redis_url.as_deref();
    let url = url.ok_or("REDIS_URL environment variable is required")?;
    let (store, server) = Store::in_redis(url)?;
    println!("✓ REDIS_URL: {server}");
    let health = health(&store, &settings.environment, true);
    if let Err(not_ready) = health.wait_until_ready(START_TIMEOUT).await {
        return Err(format!(
            "cannot connect to Redis at {server}: {}",
            cause(&not_ready)
        ));
    }
    println!("✓ Redis: connected, and keeps what is written");
    // Not the address of a client.
    let counted = store.count(Ipv4Addr::UNSPECIFIED.into()).await;
    counted.map_err(|why| format!("counter backend: cannot count in Redis at {server}: {why}"))?;
    println!("✓ counter backend: redis");
    let depth = store.depth().await;
    let depth =
        depth.map_err(|why| format!("queue service: no queue in Redis at {server}: {why}"))?;
    println!("✓ queue service: redis, queue_depth {depth}");
    Ok(store)
}

/// The first reason, as in `auth (the server refuses the password)`.
fn cause(not_ready: &NotReady) -> String {
    let first = not_ready.failing().first();
    let reason = first
        .and_then(|entry| entry.reason)
        .map_or("unknown", |reason| reason.as_str());
    match first.and_then(|entry| entry.message.as_deref()) {
        Some(message) => format!("{reason} ({message})"),
        None => reason.to_owned(),
    }
}

fn health(store: &Store, environment: &str, required: bool) -> Health {
    let mut health = Health::builder()
        .info("version", VERSION)
        .info("environment", environment.to_owned());
    for dependency in store.dependencies() {
        health = health.add(if required {
            dependency
        } else {
            dependency.optional()
        });
    }
    health.build()
}

/// Two layers on one handle: one for every caller, one for this host.
fn layers(health: Health, demo: bool) -> (HealthLayer<KeepBody>, HealthLayer<KeepBody>) {
    let overview = HealthLayer::new(health.clone())
        .without_default_paths()
        .path_with_format("/health", Probe::Full, Format::custom(Overview))
        .details(Access::everybody());
    let admin = HealthLayer::new(health)
        .without_default_paths()
        .path_with_format(
            "/admin/health/redis",
            Probe::Full,
            Format::custom(Admin { demo }),
        )
        .allow(Access::loopback())
        .details(Access::loopback());
    (overview.keep_body_type(), admin.keep_body_type())
}
