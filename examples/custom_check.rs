//! Custom checks: a closure, a type, the heartbeat of a worker, and the runtime lag.
//!
//! ```sh
//! cargo run --example custom_check --features axum,tracing
//! curl localhost:3000/livez; curl localhost:3000/health
//! ```
#![allow(missing_docs)]

use std::{
    env,
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::net::{TcpListener, TcpStream};
use tower_health::{
    Access, Check, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Reason,
    checks::{Heartbeat, RuntimeLag},
};

/// Up if a connect to the address succeeds. A type, because it has a setting.
struct Listens(SocketAddr);

impl Check for Listens {
    async fn check(&self) -> CheckResult {
        // `?` converts any std error; this one becomes `refused`, `unreachable`, ...
        TcpStream::connect(self.0).await?;
        Ok(Outcome::up())
    }

    fn kind(&self) -> Option<&'static str> {
        Some("tcp")
    }
}

fn health(queue: Arc<AtomicU64>, worker: Heartbeat, search: SocketAddr) -> Health {
    let queue_check = move || {
        let depth = queue.load(Ordering::Relaxed);
        async move {
            match depth {
                0..1_000 => Ok(Outcome::up().observe("depth", depth)),
                1_000..10_000 => Ok(Outcome::degraded(Reason::Behind).observe("depth", depth)),
                _ => Err(Failure::new(Reason::Behind).message(format!("{depth} jobs wait"))),
            }
        }
    };
    Health::builder()
        .check("queue", queue_check)
        .add(
            Dependency::new("search", Listens(search))
                .optional()
                .timeout(Duration::from_millis(300))
                .cache_for(Duration::from_secs(5))
                .failure_threshold(3),
        )
        // Liveness accepts in-process checks only.
        .liveness_check("worker", worker)
        .liveness_check("runtime", RuntimeLag::new(Duration::from_millis(100)))
        .build()
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
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let worker = Heartbeat::new(Duration::from_secs(3));
    let beat = worker.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            beat.beat();
        }
    });
    let listener = TcpListener::bind(addr).await?;
    let own = listener.local_addr()?;
    println!("http://{own}/livez http://{own}/health");
    let app = app(health(Arc::default(), worker, own));
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}
