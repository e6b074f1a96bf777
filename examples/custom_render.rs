//! Custom formats for existing clients: Django's djblets and ASP.NET Core's health UI.
//!
//! ```sh
//! cargo run --example custom_render --features axum,tracing
//! curl localhost:3000/healthcheck; curl localhost:3000/hc
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | `/healthcheck` as djblets, `/hc` as ASP.NET, `/health` as native JSON |
//! | `BACKEND_ADDR` | `127.0.0.1:5432` | the required dependency: it is up if a connect succeeds |
#![allow(missing_docs)]

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tower_health::{
    Access, CheckResult, Format, Health, HealthLayer, Outcome, Probe, Status,
    render::{Render, View},
    report::ReportEntry,
};

/// `{"checks":{"database":"UP"},"errors":{},"status":"UP"}`
struct Djblets;

impl Render for Djblets {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let up_or_down = |status: Status| if status.is_serving() { "UP" } else { "DOWN" };
        // Without details the view has no entries: both stay empty.
        let (mut checks, mut errors) = (Map::new(), Map::new());
        for entry in view.entries() {
            checks.insert(entry.name.to_string(), up_or_down(entry.status).into());
            if !entry.status.is_serving() {
                errors.insert(entry.name.to_string(), why(entry));
            }
        }
        let body =
            json!({ "checks": checks, "errors": errors, "status": up_or_down(view.status()) });
        body.to_string().into()
    }
}

/// `{"status":"Healthy","totalDuration":"00:00:00.0213","entries":{…}}`
struct AspNet;

impl Render for AspNet {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let entries = view.entries().iter().map(|entry| {
            let data = entry
                .observations()
                .map(|(name, value)| (name.to_owned(), json!(value)));
            let mut value = json!({
                "data": data.collect::<Map<_, _>>(),
                "duration": span(entry.duration),
                "status": aspnet_status(entry.status),
                "tags": entry.kind.iter().collect::<Vec<_>>(),
            });
            if entry.status != Status::Up {
                value["description"] = why(entry);
            }
            (entry.name.to_string(), value)
        });
        let body = json!({
            "status": aspnet_status(view.status()),
            // Checks run at the same time: the slowest determines the total.
            "totalDuration": span(view.entries().iter().filter_map(|entry| entry.duration).max()),
            "entries": entries.collect::<Map<_, _>>(),
        });
        body.to_string().into()
    }
}

fn aspnet_status(status: Status) -> &'static str {
    match status {
        Status::Up => "Healthy",
        Status::Degraded => "Degraded",
        _ => "Unhealthy",
    }
}

/// The reason, and the message of the check if there is one.
fn why(entry: &ReportEntry) -> Value {
    let reason = entry.reason.map_or("unknown", |reason| reason.as_str());
    match &entry.message {
        Some(message) => format!("{reason}: {message}").into(),
        None => reason.into(),
    }
}

fn span(duration: Option<Duration>) -> String {
    let duration = duration.unwrap_or_default();
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{:07}",
        duration.subsec_nanos() / 100
    )
}

fn app(health: Health) -> Router {
    let layer = HealthLayer::new(health)
        .path_with_format("/healthcheck", Probe::Readiness, Format::custom(Djblets))
        .path_with_format("/hc", Probe::Full, Format::custom(AspNet))
        .details(Access::loopback());
    Router::new()
        .route("/", get(async || "hello\n"))
        .layer(layer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let backend = env::var("BACKEND_ADDR").unwrap_or_else(|_| "127.0.0.1:5432".to_owned());
    let backend: SocketAddr = backend.parse()?;
    let listens = move || async move {
        TcpStream::connect(backend).await?;
        CheckResult::Ok(Outcome::up().observe("address", backend.to_string()))
    };
    let health = Health::builder().check("backend.default", listens).build();
    let listener = TcpListener::bind(addr).await?;
    let own = listener.local_addr()?;
    for path in ["healthcheck", "hc", "health"] {
        println!("http://{own}/{path}");
    }
    let app = app(health).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}
