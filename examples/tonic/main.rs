//! A gRPC service, its health over gRPC, and probes over HTTP, on one port of a tonic server.
//!
//! ```sh
//! cargo run --example tonic --features grpc,signal,tracing
//! grpc_health_probe -addr localhost:50051 -service shop.v1.Orders
//! curl -i localhost:50051/readyz
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:50051` | where it listens |
//! | `DATABASE_URL` | a private throw-away server | Postgres: `shop.v1.Orders` needs it |
//! | `REDIS_URL` | a private throw-away server | Redis: optional, `degraded` without it |
//! | `DEMO_MODE` | `false` | with `true`, a backend whose program is not installed runs in memory |
//! | `DRAIN_SECONDS` | `2` | how long calls are answered after a signal, while `NOT_SERVING` |
#![allow(missing_docs)]

#[path = "../quickstart/backends.rs"]
mod backends;
mod orders;
// The demo shares the private servers of the tests.
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{env, error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{server::NamedService, transport::Server};
use tower_health::{Access, Health, HealthLayer, Probe, grpc::FILE_DESCRIPTOR_SET};

use crate::orders::Orders;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tonic: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr: SocketAddr = variable("ADDR", "127.0.0.1:50051")
        .parse()
        .map_err(|_| "ADDR is not an address and port, such as 127.0.0.1:50051")?;
    let drain: u64 = variable("DRAIN_SECONDS", "2")
        .parse()
        .map_err(|_| "DRAIN_SECONDS is not a number of seconds")?;

    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let database = backends::database().await?;
    let cache = backends::cache().await?;
    let health = Health::builder()
        .add(database.dependency().group("orders"))
        .add(cache.dependency().optional())
        // Clients that balance over this service watch it by its name.
        .map_grpc_service(Orders::NAME, Probe::group("orders"))
        .build();
    // The drain ends open watches: the server would wait for them.
    let draining = health.drain_on_shutdown_signal(Duration::from_secs(drain));
    backends::keep_checking(&health);
    println!("http://{addr}/readyz  and the other probes, over HTTP/1.1 or HTTP/2");
    println!(
        "{addr}  grpc.health.v1.Health for \"\" and {0:?}, {0}/Place",
        Orders::NAME
    );

    let orders = Orders {
        database: database.store(),
        cache: cache.store(),
    };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Server::builder()
        // For probers without HTTP/2. gRPC calls over HTTP/1.1 are rejected.
        .accept_http1(true)
        .layer(HealthLayer::new(health).details(Access::loopback()).grpc())
        .add_service(reflection)
        .add_service(orders)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), draining)
        .await?;
    println!("stopped");
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.to_owned())
}
