//! An app that is probed from several addresses of loopback.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower_health::{Health, HealthLayer, Outcome};

use super::server::serve_axum;
use crate::support::ask;

/// Names and values of a request's headers.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// What an answer with details contains, and no other answer.
pub const NAME: &str = "zq-database";

pub fn health() -> Health {
    Health::builder()
        .check(NAME, async || Ok(Outcome::up()))
        .build()
}

pub async fn serve(layer: HealthLayer) -> SocketAddr {
    serve_axum(Router::new().layer(layer)).await
}

/// What `/health` answers to `source`, one of loopback's addresses, with these headers.
pub async fn health_of(
    address: SocketAddr,
    source: &str,
    headers: Fields<'_>,
) -> (StatusCode, String) {
    let mut request = Request::get(format!("http://{address}/health"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let source: IpAddr = source.parse().expect("an address");
    ask(request.body(Full::default()).expect("valid"), Some(source)).await
}

pub async fn sees_details(address: SocketAddr, source: &str, headers: Fields<'_>) -> bool {
    let (code, body) = health_of(address, source, headers).await;
    assert_eq!(code, StatusCode::OK);
    let full = body.contains(NAME);
    assert!(full || body == r#"{"status":"up"}"#, "{body}");
    full
}
