//! What is compared: services by hand, axum's, `axum-health`'s and ours, on the bodies of a real server.

use std::{convert::Infallible, time::Duration};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tower_health::{Dependency, Failure, Health, HealthLayer, Outcome, Reason};

/// A foreign path, as an API has them.
pub const FOREIGN: &[u8] = b"GET /api/v1/users/42 HTTP/1.1\r\n\
    host: localhost:8080\r\nuser-agent: curl/8.5.0\r\naccept: */*\r\n\r\n";
/// As a kubelet sends it, but for the connection that it closes.
pub const PROBE: &[u8] = b"GET /readyz HTTP/1.1\r\n\
    host: localhost:8080\r\nuser-agent: kube-probe/1.33\r\naccept: */*\r\n\r\n";

/// The response to a probe while every dependency is up.
pub const UP: &[u8] = br#"{"status":"up"}"#;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// By hand on hyper, written as hyper's guide does: a constant body and so many headers, a
/// probe's two, then two that others send.
pub async fn constant<const HEADERS: usize>(
    _: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(constant_response::<HEADERS>())
}

fn constant_response<const HEADERS: usize>() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(UP)));
    let headers = response.headers_mut();
    if HEADERS > 0 {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    if HEADERS > 1 {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
    if HEADERS > 2 {
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    }
    if HEADERS > 3 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An app with one route.
pub fn router() -> Router {
    Router::new().route("/api/v1/users/42", get(async || "hello"))
}

/// A handler that answers with a constant, as it would be written with axum.
pub fn axum_handler() -> Router {
    let handler = async || {
        (
            [
                (header::CONTENT_TYPE, JSON),
                (header::CACHE_CONTROL, NO_STORE),
            ],
            UP,
        )
    };
    Router::new().route("/readyz", get(handler))
}

/// With its own trivial indicator.
pub fn axum_health() -> Router {
    let health = axum_health::prelude::Health::builder().with_ping().build();
    Router::new()
        .route("/readyz", get(axum_health::health_check))
        .layer(health)
}

/// A layer with the default paths and a result that stays.
pub async fn settled(up: bool) -> HealthLayer {
    HealthLayer::new(settled_health(up).await)
}

/// A handle whose result is there and stays.
pub async fn settled_health(up: bool) -> Health {
    let hour = Duration::from_secs(3_600);
    let check = move || async move {
        if up {
            Ok(Outcome::up())
        } else {
            Err(Failure::new(Reason::Refused))
        }
    };
    let dependency = Dependency::new("database", check)
        .cache_for(hour)
        .cache_failures_for(hour);
    let health = Health::builder().add(dependency).build();
    let _ = health.report().await;
    health
}
