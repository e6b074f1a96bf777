//! An axum app whose Postgres and Redis pools are checked by a [`HealthLayer`].
//!
//! ```sh
//! cargo run --example quickstart --features axum,html,signal,tracing
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//! | `DATABASE_URL` | a private throw-away server | Postgres |
//! | `REDIS_URL` | a private throw-away server | Redis |
//! | `DEMO_MODE` | `false` | with `true`, a backend whose program is not installed runs in memory |
//! | `DRAIN_SECONDS` | `2` | how long requests are answered after a signal, while not ready |
//!
//! Each transition of a dependency is logged on standard error, with its reason and cause.
#![allow(missing_docs)]

mod app;
mod backends;
// The demo shares the private servers of the tests.
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{env, error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use axum::{ServiceExt, extract::Request};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tower::Layer;
use tower_health::{Access, Health, HealthLayer, service::AnnounceDrainLayer};

const EVERYTHING: &str = if cfg!(feature = "html") {
    "all dependencies, with details for this host; open it in a browser"
} else {
    "all dependencies, with details for this host"
};
/// The limit for requests that are open after the drain.
const LAST_REQUESTS: Duration = Duration::from_millis(700);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
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
        .map_err(|_| "ADDR is not an address and port, such as 127.0.0.1:3000")?;
    let drain: u64 = variable("DRAIN_SECONDS", "2")
        .parse()
        .map_err(|_| "DRAIN_SECONDS is not a number of seconds")?;

    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let health = Health::builder()
        .info("version", env!("CARGO_PKG_VERSION"))
        .build();
    // Before the private servers: a signal during their start must end them, too.
    let draining = health.drain_on_shutdown_signal(Duration::from_secs(drain));
    let database = backends::database().await?;
    let cache = backends::cache().await?;
    health.add(database.dependency())?;
    health.add(cache.dependency())?;
    backends::keep_checking(&health);

    // `keep_body_type`: `axum::serve` takes axum's own response type.
    let app = app::router(database.store(), cache.store());
    let layer = HealthLayer::new(health.clone())
        .details(Access::loopback())
        .keep_body_type();
    #[cfg(feature = "html")]
    let layer = layer.page("/health");
    let app = layer.layer(AnnounceDrainLayer::new(health.clone()).layer(app));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);

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
    println!(
        "http://{addr}/  the app: counts a visit in both servers; POST /api/echo returns its body"
    );

    let (drained, when_drained) = oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        draining.await;
        let _ = drained.send(());
    });
    tokio::select! {
        result = server.into_future() => result?,
        // A connection that stays open must not keep the process alive.
        () = async { let _ = when_drained.await; sleep(LAST_REQUESTS).await } => {}
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
