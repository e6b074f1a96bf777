//! Probes on a separate port: one handle, two listeners, and the order in which they end.
//!
//! ```sh
//! cargo run --example management_port --features axum,signal,tracing
//! curl localhost:3000/readyz; curl localhost:9000/health
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | the app, public |
//! | `MANAGEMENT_ADDR` | `127.0.0.1:9000` | probes with details, for every caller who reaches that port |
//! | `DRAIN_SECONDS` | `2` | how long requests are answered after a signal, while not ready |
//!
//! The app's port answers readiness without details. A load balancer that probes it checks the port that
//! gets the traffic; the management port cannot prove that.
#![allow(missing_docs)]

use std::{env, error::Error, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tower_health::{Access, Health, HealthLayer, Outcome, Probe};

/// The limit for requests that are open after the drain.
const LAST_REQUESTS: Duration = Duration::from_millis(700);

/// The public port: the app, and its readiness without details.
fn app(health: Health) -> Router {
    let probe = HealthLayer::new(health)
        .without_default_paths()
        .path("/readyz", Probe::Readiness);
    Router::new()
        .route("/", get(async || "hello\n"))
        .layer(probe)
}

/// The management port: all probes with details. A network policy decides who reaches it.
fn management(health: Health) -> Router {
    Router::new().layer(HealthLayer::new(health).details(Access::everybody()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let drain = Duration::from_secs(variable("DRAIN_SECONDS", "2").parse()?);
    let public = TcpListener::bind(variable("ADDR", "127.0.0.1:3000")).await?;
    let private = TcpListener::bind(variable("MANAGEMENT_ADDR", "127.0.0.1:9000")).await?;

    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .info("version", env!("CARGO_PKG_VERSION"))
        .build();
    println!("http://{}/readyz  the status only", public.local_addr()?);
    println!("http://{}/health  all dependencies", private.local_addr()?);

    // Until the end of `main`: the platform may probe as long as the process lives.
    let probes = axum::serve(private, management(health.clone()));
    tokio::spawn(probes.into_future());

    let (drained, when_drained) = oneshot::channel();
    // Not ready on both ports at once: they share the handle.
    let draining = health.drain_on_shutdown_signal(drain);
    let served = axum::serve(public, app(health)).with_graceful_shutdown(async move {
        draining.await;
        let _ = drained.send(());
    });
    tokio::select! {
        result = served.into_future() => result?,
        // A connection that stays open must not keep the process alive.
        () = async { let _ = when_drained.await; sleep(LAST_REQUESTS).await } => {}
    }
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
