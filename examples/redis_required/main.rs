//! Redis is mandatory: a rate limiter counts in it and a queue lives in it, so without it there is no app.
//!
//! ```sh
//! REDIS_URL=redis://127.0.0.1 cargo run --example redis_required --features axum,tracing
//! curl -i localhost:3000/health
//! curl -i localhost:3000/admin/health/redis
//! curl -i localhost:3000/jobs --data 'a job'
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `REDIS_URL` | none: it is required | `redis://[user][:password@]host[:port][/database]` |
//! | `DEMO_MODE` | `false` | with `true`, memory stands in for a Redis that is not there at the start |
//! | `ENVIRONMENT` | `production`, or `demo` in demo mode | a word for the answer |
//! | `RATE_LIMIT` | `60` | jobs a minute that one address may leave |
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//!
//! 1. The start validates step by step and prints a line for each. The first that fails is said in one
//!    line without the password, and the exit code is 1. Redis is given 3 s.
//! 2. `/health`: 503 when Redis or the queue is down, except in demo mode, for everybody.
//!    `{"status":"healthy","version":"…","environment":"production","redis":{"status":"healthy","backend":"redis"},"queue":{"status":"healthy","backend":"redis","queue_depth":0}}`
//! 3. `/admin/health/redis`, for this host alone: 403 to others.
//!    `{"counter_backend":"redis","queue_service":{"status":"healthy","backend":"redis","queue_depth":0},"demo_mode":false}`
//! 4. `POST /jobs` leaves a job and `POST /jobs/next` takes the oldest; 429 over the limit. While Redis is
//!    down both are 503: a limiter that cannot count lets nobody in.
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
use tower_health::{Access, Format, Health, HealthLayer, NotReady, Probe, mode::KeepBody};

use crate::{
    answer::{Admin, Overview},
    settings::Settings,
    store::Store,
};

/// So long is Redis given at the start: it may be starting, too.
const AT_START: Duration = Duration::from_secs(3);

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

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let store = match start(&settings).await {
        Ok(store) => store,
        Err(error) if settings.demo => {
            eprintln!("warning: {error}");
            eprintln!(
                "warning: DEMO_MODE: counters and queue are in memory, and end with this process"
            );
            Store::in_memory()
        }
        Err(error) => return Err(error.into()),
    };
    // In a demo what fails later is told and no more.
    let health = health(&store, &settings.environment, !settings.demo);
    let listener = TcpListener::bind(&settings.addr).await;
    let listener = listener.map_err(|error| format!("ADDR {}: {error}", settings.addr))?;
    println!("ok: listening, http://{}/health", listener.local_addr()?);
    let (overview, admin) = faces(health, settings.demo);
    let app = (overview, admin).layer(app::router(store, settings.rate_limit));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Each step of the start on a real Redis, printed once it is known to work.
async fn start(settings: &Settings) -> Result<Store, String> {
    let url = settings.redis_url.as_deref();
    let url = url.ok_or("REDIS_URL environment variable is required")?;
    let (store, server) = Store::in_redis(url)?;
    println!("ok: REDIS_URL names {server}");
    let health = health(&store, &settings.environment, true);
    if let Err(not_ready) = health.wait_until_ready(AT_START).await {
        return Err(format!(
            "cannot connect to Redis at {server}: {}",
            cause(&not_ready)
        ));
    }
    println!("ok: Redis answers, and keeps what is written");
    // An address that nobody has.
    let counted = store.count(Ipv4Addr::UNSPECIFIED.into()).await;
    counted.map_err(|why| format!("the rate limiter cannot count in Redis at {server}: {why}"))?;
    println!("ok: the rate limiter counts in Redis");
    let depth = store.depth().await;
    let depth = depth.map_err(|why| format!("the queue cannot be in Redis at {server}: {why}"))?;
    println!("ok: the queue is in Redis, queue_depth {depth}");
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
        .info("version", env!("CARGO_PKG_VERSION"))
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

/// Two faces of one handle: one for everybody, one for this host.
fn faces(health: Health, demo: bool) -> (HealthLayer<KeepBody>, HealthLayer<KeepBody>) {
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
