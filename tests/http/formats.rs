//! The format of an answer: by `accept`, by the layer, by the path, and custom ones.

use std::net::SocketAddr;

use axum::Router;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
    render::{Render, View},
};

use super::server::{serve_axum, up};
use crate::helpers::wire::{Answer, Wire};

const JSON: &str = "application/json";
const HEALTH_JSON: &str = "application/health+json";
const SPRING: &str = "application/vnd.spring-boot.actuator.v3+json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
#[cfg(feature = "html")]
const HTML: &str = "text/html; charset=utf-8";
const CUSTOM: &str = "application/x-names";
/// The header of a browser.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Its database is up; its search, which is required, is down.
fn broken() -> Health {
    let health = Health::builder()
        .add(Dependency::new("database", async || Ok(Outcome::up())).group("storage"))
        .check("search", async || Err(Failure::new(Reason::Refused)))
        .build();
    health.set_started();
    health
}

/// With details for every caller, and without ages: they would change lengths.
fn open(health: Health) -> HealthLayer {
    HealthLayer::new(health)
        .details(Access::everybody())
        .without_measurements()
}

async fn serve(layer: HealthLayer) -> SocketAddr {
    serve_axum(Router::new().layer(layer)).await
}

/// Without the header `accept` if it is empty.
async fn get(address: SocketAddr, target: &str, accept: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    let accept = match accept {
        "" => String::new(),
        accept => format!("accept: {accept}\r\n"),
    };
    let request = format!("{target} HTTP/1.1\r\nhost: localhost\r\n{accept}\r\n");
    wire.send(format!("GET {request}")).await;
    let answer = wire.answer().await;
    wire.send(format!("HEAD {request}")).await;
    let head = wire.answer_to_head().await;
    let body = String::new();
    assert_eq!(
        head,
        Answer {
            body,
            ..answer.clone()
        },
        "{target} {accept}"
    );
    answer
}

async fn content_type(address: SocketAddr, target: &str, accept: &str) -> String {
    let answer = get(address, target, accept).await;
    answer.header("content-type").expect("has one").to_owned()
}

/// The names of the dependencies.
struct Names;

impl Render for Names {
    fn content_type(&self) -> &'static str {
        CUSTOM
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let names = view.entries().iter().map(|entry| &*entry.name);
        names.collect::<Vec<_>>().join(" ").into_bytes()
    }
}

/// Every answer is compared with the one to `HEAD`.
#[tokio::test]
async fn accept_selects_the_format() {
    let address = serve(open(broken())).await;
    for path in ["/health", "/readyz"] {
        for (accept, expected, start) in [
            ("", JSON, r#"{"status":"down","checks":{"#),
            ("*/*", JSON, r#"{"status":"down","#),
            (HEALTH_JSON, HEALTH_JSON, r#"{"status":"fail","#),
            (SPRING, SPRING, r#"{"status":"DOWN","#),
            (&format!("{SPRING}, application/json"), SPRING, ""),
            (
                "text/plain",
                TEXT,
                "[+]database ok\n[-]search failed: refused\n",
            ),
            (
                "application/openmetrics-text;version=1.0.0",
                OPENMETRICS,
                "# TYPE ",
            ),
            (
                "text/plain;q=0.5, application/health+json;q=0.6",
                HEALTH_JSON,
                "",
            ),
            // The page is offered only at the paths that are set.
            (BROWSER, JSON, ""),
            // An unknown or malformed media type does not fail a probe.
            ("image/png", JSON, ""),
            ("image/png;q=x, ,;", JSON, ""),
        ] {
            let answer = get(address, path, accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            assert!(answer.body.starts_with(start), "{accept}: {}", answer.body);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let nosniff = (expected == TEXT).then_some("nosniff");
            assert_eq!(answer.header("x-content-type-options"), nosniff, "{accept}");
            // Prometheus discards any other answer.
            let is_scrape = expected == OPENMETRICS;
            assert_eq!(answer.code, if is_scrape { 200 } else { 503 }, "{accept}");
        }
    }
    assert_eq!(
        content_type(address, "/health/search", "text/plain").await,
        TEXT
    );
}

#[tokio::test]
async fn the_layers_format_answers_requests_that_name_none() {
    for (format, expected) in [
        (Format::json(), JSON),
        (Format::health_json(), HEALTH_JSON),
        (Format::spring(), SPRING),
        (Format::text(), TEXT),
        (Format::openmetrics(), OPENMETRICS),
        (Format::custom(Names), CUSTOM),
        #[cfg(feature = "html")]
        (Format::html(), HTML),
    ] {
        let address = serve(open(broken()).format(format)).await;
        for accept in ["", "*/*", "image/png"] {
            let answer = get(address, "/readyz", accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            // The caller is a prober: the code must be the status, even of OpenMetrics.
            assert_eq!(answer.code, 503, "{expected}");
        }
        for (accept, named, code) in [
            (JSON, JSON, 503),
            ("text/plain", TEXT, 503),
            ("application/openmetrics-text", OPENMETRICS, 200),
        ] {
            let answer = get(address, "/readyz", accept).await;
            assert_eq!(answer.header("content-type"), Some(named), "{expected}");
            assert_eq!(answer.code, code, "{expected}");
        }
    }
}

#[tokio::test]
async fn a_paths_own_format_ignores_accept() {
    let layer = open(broken())
        .format(Format::health_json())
        .path_with_format("/spring", Probe::Full, Format::spring())
        .path_with_format("/text", Probe::Full, Format::text())
        .path_with_format("/metrics", Probe::Full, Format::openmetrics())
        .path_with_format("/names", Probe::group("storage"), Format::custom(Names))
        .path("/other", Probe::Full);
    let address = serve(layer).await;
    for accept in ["", "*/*", JSON, "text/html", "text/plain;q=0"] {
        for (path, expected, code) in [
            ("/spring", SPRING, 503),
            ("/spring/search", SPRING, 503),
            ("/text", TEXT, 503),
            ("/metrics", OPENMETRICS, 200),
            ("/names", CUSTOM, 200),
        ] {
            let answer = get(address, path, accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            assert_eq!(answer.code, code, "{path} {accept}");
        }
    }
    assert_eq!(get(address, "/names", "").await.body, "database");
    assert_eq!(content_type(address, "/other", "").await, HEALTH_JSON);
}

#[cfg(feature = "html")]
#[tokio::test]
async fn a_page_is_offered_in_addition_to_other_formats() {
    // The order of calls does not matter, and neither does whether the path is a probe already.
    let layer = open(up())
        .path_with_format("/page", Probe::Full, Format::html())
        .page("/status")
        .page("/health")
        .page("/ready")
        .path("/ready", Probe::Readiness);
    let address = serve(layer).await;
    for path in ["/status", "/health", "/ready", "/health/database", "/page"] {
        for (accept, expected) in [
            (BROWSER, HTML),
            ("text/html", HTML),
            ("", JSON),
            ("*/*", JSON),
            ("text/plain", TEXT),
        ] {
            let expected = if path == "/page" { HTML } else { expected };
            let answer = get(address, path, accept).await;
            assert_eq!(
                answer.header("content-type"),
                Some(expected),
                "{path} {accept}"
            );
            if expected == HTML {
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                let policy = answer.header("content-security-policy").expect("has one");
                assert!(policy.starts_with("default-src 'none'; "), "{policy}");
                assert!(answer.body.starts_with("<!doctype html>"));
            }
        }
    }
    for path in ["/readyz", "/livez", "/readyz/database"] {
        assert_eq!(content_type(address, path, BROWSER).await, JSON, "{path}");
    }
}

/// The media type of the native JSON, with another body.
struct Legacy;

impl Render for Legacy {
    fn content_type(&self) -> &'static str {
        "application/json; charset=utf-8"
    }

    fn render(&self, _: &View<'_>) -> Vec<u8> {
        b"{}".to_vec()
    }
}

#[tokio::test]
async fn a_custom_format_replaces_the_one_of_its_media_type() {
    let address = serve(open(up()).format(Format::custom(Legacy))).await;
    let mixed = "text/plain;q=0.9, application/json";
    for accept in ["", "*/*", JSON, "application/*", mixed] {
        assert_eq!(get(address, "/readyz", accept).await.body, "{}", "{accept}");
    }
    assert_eq!(content_type(address, "/readyz", "text/plain").await, TEXT);
}

/// Panics if there is a dependency.
struct Panics;

impl Render for Panics {
    fn content_type(&self) -> &'static str {
        "text/plain"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        assert!(view.entries().is_empty(), "a renderer with a bug");
        b"fine".to_vec()
    }
}

#[tokio::test]
async fn after_a_renderers_panic_the_answer_is_the_status() {
    for (health, code, status) in [(up(), 200, "up"), (broken(), 503, "down")] {
        let address = serve(open(health).format(Format::custom(Panics))).await;
        for _ in 0..2 {
            let answer = get(address, "/readyz", "").await;
            assert_eq!(answer.code, code);
            assert_eq!(answer.body, format!(r#"{{"status":"{status}"}}"#));
            assert_eq!(answer.header("content-type"), Some(JSON));
        }
        assert_eq!(get(address, "/livez", "").await.body, "fine");
    }
}
