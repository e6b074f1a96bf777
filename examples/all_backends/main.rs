//! Every configured database and cache in one answer, for authorized callers.
//!
//! ```sh
//! DATABASE_URL=postgres://… DATABASE_URL_REPORTS=postgres://… REDIS_URL=redis://… \
//!     HEALTHCHECK_IPS='127.0.0.1, 10.0.0.0/8' cargo run --example all_backends --features axum,signal,tracing
//! curl -i localhost:3000/health
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `DATABASE_URL`, `DATABASE_URL_{NAME}` | none | Postgres: the checks `database.default` and `database.{name}` |
//! | `REDIS_URL`, `REDIS_URL_{NAME}` | none | Redis: the checks `cache.default` and `cache.{name}` |
//! | `HEALTHCHECK_IPS` | loopback | addresses and CIDRs that may probe, separated by commas or spaces |
//! | `STORAGE_DIR` | the system's temporary directory | what the plug-in checks: `storage.default` |
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//!
//! 1. All up: 200 and `{"status":"UP","checks":{"database.default":"UP",…},"errors":{}}`. Otherwise 503,
//!    `DOWN`, and under `errors` a reason for each check that is not up. Transitions are logged.
//! 2. A database must answer `SELECT 1`; a cache must return what was written to it. All checks run at
//!    the same time, so that an unresponsive server does not delay the others.
//! 3. Other callers get 403 with an empty body. An invalid entry of `HEALTHCHECK_IPS` is logged and
//!    ignored. Requests through a proxy on this host do not count as loopback.
//! 4. The plug-in registers its check after the app is served: dependencies may be added at run time.
//! 5. After SIGTERM or Ctrl-C the app answers requests for 1 s more.
#![allow(missing_docs)]

mod access;
mod answer;
mod backends;
mod plugin;

use std::{env, error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use axum::{Router, ServiceExt, extract::Request, routing::get};
use tokio::net::TcpListener;
use tower::Layer;
use tower_health::{Access, Format, Health, HealthLayer, Probe};

use crate::{answer::UpOrDown, plugin::Storage};

/// Longer than load balancers need to notice; 5 s fit a Kubernetes service.
const DRAIN: Duration = Duration::from_secs(1);

async fn run() -> Result<(), Box<dyn Error>> {
    let mut health = Health::builder();
    for dependency in backends::configured()? {
        println!("checks {}", dependency.name());
        health = health.add(dependency);
    }
    let health = health.build();
    let allowed = access::allowed(variable("HEALTHCHECK_IPS").as_deref());

    let addr = variable("ADDR").unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&addr).await;
    let listener = listener.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("http://{}/health", listener.local_addr()?);
    let app = HealthLayer::new(health.clone())
        .without_default_paths()
        .path_with_format("/health", Probe::Full, Format::custom(UpOrDown))
        .allow(allowed)
        // Every allowed caller sees details.
        .details(Access::everybody())
        .keep_body_type()
        .layer(Router::new().route("/", get(async || "hello\n")));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
    let draining = health.drain_on_shutdown_signal(DRAIN);
    let server = axum::serve(listener, app).with_graceful_shutdown(draining);
    let served = tokio::spawn(server.into_future());

    let directory = variable("STORAGE_DIR").map_or_else(env::temp_dir, PathBuf::from);
    Storage::new(directory).register(&health)?;
    served.await??;
    Ok(())
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

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
