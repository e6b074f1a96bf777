//! Apps behind a real server, and requests to them with an `accept` header.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Outcome, Reason};

use crate::helpers::wire::{Answer, Wire};

/// An app that has started, whose database is up and whose search, required, is down.
pub fn broken() -> Health {
    let health = Health::builder()
        .add(Dependency::new("database", async || Ok(Outcome::up())).group("storage"))
        .check("search", async || Err(Failure::new(Reason::Refused)))
        .build();
    health.set_started();
    health
}

pub fn healthy() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build()
}

pub async fn serve(layer: HealthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = Router::new().route("/", get(async || "index")).layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// To operators and unauthorized callers alike.
pub fn open(health: Health) -> HealthLayer {
    HealthLayer::new(health).details(Access::everybody())
}

/// What `target` answers to `accept`; to no such header where it is empty.
pub async fn ask(address: SocketAddr, method: &str, target: &str, accept: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    let accept = match accept {
        "" => String::new(),
        accept => format!("accept: {accept}\r\n"),
    };
    wire.send(format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{accept}\r\n"
    ))
    .await;
    match method {
        "HEAD" => wire.answer_to_head().await,
        _ => wire.answer().await,
    }
}

pub async fn content_type(address: SocketAddr, target: &str, accept: &str) -> String {
    let answer = ask(address, "GET", target, accept).await;
    let content_type = answer.header("content-type").expect("has one");
    content_type.to_owned()
}
