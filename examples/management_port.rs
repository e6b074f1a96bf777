//! Probes on a port of their own: one handle, two listeners, and the order in which they end.
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | the app, for everybody |
//! | `MANAGEMENT_ADDR` | `127.0.0.1:9000` | probes with details, for whoever reaches that port |
//! | `DRAIN_SECONDS` | `2` | how long it serves on after a signal, unready |
//!
//! The app's port answers one probe, too, and says no more than up or down: a balancer that asks it
//! learns whether the port that gets the traffic is served, which the other port cannot know.
#![allow(missing_docs)]

use std::{env, error::Error, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tower_health::{Access, Health, HealthLayer, Outcome, Probe};

/// Open requests get this long after the drain.
const LAST_REQUESTS: Duration = Duration::from_millis(700);

/// What everybody reaches: the app, and its readiness in one word.
fn app(health: Health) -> Router {
    let probe = HealthLayer::new(health)
        .without_default_paths()
        .path("/readyz", Probe::Readiness);
    Router::new()
        .route("/", get(async || "hello\n"))
        .layer(probe)
}

/// What the network policy lets the platform reach: everything. The port is the permission.
fn management(health: Health) -> Router {
    Router::new().layer(HealthLayer::new(health).details(Access::everybody()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let drain = Duration::from_secs(variable("DRAIN_SECONDS", "2").parse()?);
    let public = TcpListener::bind(variable("ADDR", "127.0.0.1:3000")).await?;
    let private = TcpListener::bind(variable("MANAGEMENT_ADDR", "127.0.0.1:9000")).await?;

    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .info("version", env!("CARGO_PKG_VERSION"))
        .build();
    println!("http://{}/readyz  one word", public.local_addr()?);
    println!("http://{}/health  everything", private.local_addr()?);

    // Until the end of `main`: the platform may ask as long as there is a process.
    let probes = axum::serve(private, management(health.clone()));
    tokio::spawn(probes.into_future());

    let (drained, when_drained) = oneshot::channel();
    // Unready on both ports at once: one handle answers both.
    let draining = health.drain_on_shutdown_signal(drain);
    let served = axum::serve(public, app(health)).with_graceful_shutdown(async move {
        draining.await;
        let _ = drained.send(());
    });
    tokio::select! {
        result = served.into_future() => result?,
        // A connection that never ends must not hold up the end.
        () = async { let _ = when_drained.await; sleep(LAST_REQUESTS).await } => {}
    }
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
