//! The main job: an axum app whose Postgres and Redis pools are checked by a [`HealthLayer`].
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//! | `DATABASE_URL` | a private throw-away server | Postgres |
//! | `REDIS_URL` | a private throw-away server | Redis |
//! | `DEMO_MODE` | `false` | with `true`, a backend whose program is not installed runs in memory |
//! | `DRAIN_SECONDS` | `2` | how long it serves on after a signal, unready |
#![allow(missing_docs)]

mod app;
mod backends;
// The tests' private servers serve the demo, too.
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{env, error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use axum::{ServiceExt, extract::Request};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tower::Layer;
use tower_health::{Access, AnnounceDrainLayer, Health, HealthLayer};

const EVERYTHING: &str = if cfg!(feature = "html") {
    "everything, with details for this host; open it in a browser"
} else {
    "everything, with details for this host"
};
/// Open requests get this long after the drain.
const LAST_REQUESTS: Duration = Duration::from_millis(700);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr: SocketAddr = variable("ADDR", "127.0.0.1:3000")
        .parse()
        .map_err(|_| "ADDR is no address and port, such as 127.0.0.1:3000")?;
    let drain: u64 = variable("DRAIN_SECONDS", "2")
        .parse()
        .map_err(|_| "DRAIN_SECONDS is no number of seconds")?;

    // Signals first: one that comes during the start must end the private servers, too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };

    let database = backends::database().await?;
    let cache = backends::cache().await?;
    let health = Health::builder()
        .add(database.dependency())
        .add(cache.dependency())
        .info("version", env!("CARGO_PKG_VERSION"))
        .build();

    // Around the whole router; `keep_body_type` keeps axum's response type for `axum::serve`.
    let app = app::router(database.store(), cache.store());
    let layer = HealthLayer::new(health.clone())
        .details(Access::loopback())
        .keep_body_type();
    #[cfg(feature = "html")]
    let layer = layer.page("/health");
    let app = layer.layer(AnnounceDrainLayer::new(health.clone()).layer(app));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);

    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    for (path, probe) in [
        ("/livez", "liveness"),
        ("/readyz", "readiness"),
        ("/startupz", "startup"),
        ("/health", EVERYTHING),
        ("/health/database", "one dependency"),
        ("/health/cache", "one dependency"),
    ] {
        println!("http://{addr}{path}  {probe}");
    }
    println!("http://{addr}/  the app: counts a visit in both; POST /api/echo returns its body");

    let (stopped, when_stopped) = tokio::sync::oneshot::channel();
    let drained = async move {
        stop.await;
        println!("draining for {drain} s: /readyz is 503, all else is served");
        health.drain(Duration::from_secs(drain)).await;
        let _ = stopped.send(());
    };
    let server = axum::serve(listener, app).with_graceful_shutdown(drained);
    tokio::select! {
        result = server.into_future() => result?,
        // A connection that never ends must not hold up the end.
        () = async { let _ = when_stopped.await; sleep(LAST_REQUESTS).await } => {}
    }
    println!("stopped");
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.to_owned())
}
