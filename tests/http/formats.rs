//! The format of an answer: by `accept`, by the layer, by the path, and custom ones.

use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
    render::{Render, View},
};

#[cfg(feature = "html")]
use crate::helpers::{browser::sample, server::up};
use crate::helpers::{layer_client::LayerClient, wire::Answer};

const JSON: &str = "application/json";
const HEALTH_JSON: &str = "application/health+json";
const SPRING: &str = "application/vnd.spring-boot.actuator.v3+json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
#[cfg(feature = "html")]
const HTML: &str = "text/html; charset=utf-8";
const LEGACY: &str = "application/json; charset=utf-8";
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

/// With details for every caller.
fn open(health: Health) -> HealthLayer {
    HealthLayer::new(health).details(Access::everybody())
}

async fn get(client: &LayerClient, path: &str, accept: &str) -> Answer {
    client.request("GET", path, ("accept", accept)).await
}

/// The names of the dependencies; panics if one of them is `search`.
struct Names;

impl Render for Names {
    fn content_type(&self) -> &'static str {
        CUSTOM
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let names: Vec<_> = view.entries().iter().map(|entry| &*entry.name).collect();
        assert!(!names.contains(&"search"), "a renderer with a bug");
        names.join(" ").into_bytes()
    }
}

/// The media type of the native JSON, with another body.
struct Legacy;

impl Render for Legacy {
    fn content_type(&self) -> &'static str {
        LEGACY
    }

    fn render(&self, _: &View<'_>) -> Vec<u8> {
        b"{}".to_vec()
    }
}

#[tokio::test]
async fn accept_selects_the_format() {
    let client = LayerClient(open(broken()));
    for (accept, expected, start) in [
        ("*/*", JSON, r#"{"status":"down","checks":{"#),
        (HEALTH_JSON, HEALTH_JSON, r#"{"status":"fail","#),
        (SPRING, SPRING, r#"{"status":"DOWN","#),
        ("text/plain", TEXT, "[+]database ok\n[-]search failed: refu"),
        ("application/openmetrics-text", OPENMETRICS, "# TYPE "),
        // The page is offered only at the paths that are set.
        (BROWSER, JSON, ""),
        // An unknown or malformed media type does not fail a probe.
        ("image/png;q=x, ,;", JSON, ""),
    ] {
        for path in ["/health", "/readyz", "/health/search"] {
            let answer = get(&client, path, accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            let is_report = path != "/health/search";
            assert!(!is_report || answer.body.starts_with(start), "{answer:?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let nosniff = (expected == TEXT).then_some("nosniff");
            assert_eq!(answer.header("x-content-type-options"), nosniff, "{accept}");
            // Prometheus discards any other answer.
            let is_scrape = expected == OPENMETRICS;
            assert_eq!(answer.code, if is_scrape { 200 } else { 503 }, "{accept}");
        }
    }
}

#[tokio::test]
async fn the_layers_format_answers_requests_that_name_none() {
    for (format, expected) in [
        (Format::spring(), SPRING),
        (Format::openmetrics(), OPENMETRICS),
        (Format::custom(Legacy), LEGACY),
    ] {
        let client = LayerClient(open(broken()).format(format));
        // A custom format replaces the one of its media type.
        let json = if expected == LEGACY { LEGACY } else { JSON };
        for (accept, named, code) in [
            // The caller is a prober: the code must be the status, even of OpenMetrics.
            ("", expected, 503),
            ("*/*", expected, 503),
            ("image/png", expected, 503),
            ("text/plain;q=0.9, application/json", json, 503),
            ("text/plain", TEXT, 503),
            ("application/openmetrics-text", OPENMETRICS, 200),
        ] {
            let answer = get(&client, "/readyz", accept).await;
            assert_eq!(answer.header("content-type"), Some(named), "{expected}");
            assert_eq!(answer.code, code, "{expected} {accept}");
        }
    }
}

#[tokio::test]
async fn a_paths_own_format_ignores_accept() {
    let layer = open(broken())
        .format(Format::health_json())
        .path_with_format("/spring", Probe::Full, Format::spring())
        .path_with_format("/metrics", Probe::Full, Format::openmetrics())
        .path_with_format("/names", Probe::group("storage"), Format::custom(Names))
        .path("/other", Probe::Full);
    let client = LayerClient(layer);
    for accept in ["", "*/*", JSON, "text/html", "text/plain;q=0"] {
        for (path, expected, code) in [
            ("/spring", SPRING, 503),
            ("/spring/search", SPRING, 503),
            ("/metrics", OPENMETRICS, 200),
            ("/names", CUSTOM, 200),
        ] {
            let answer = get(&client, path, accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            assert_eq!(answer.code, code, "{path} {accept}");
        }
    }
    assert_eq!(client.get("/names").await.1, "database");
    let other = get(&client, "/other", "").await;
    assert_eq!(other.header("content-type"), Some(HEALTH_JSON));
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
    let client = LayerClient(layer);
    for (accept, expected) in [(BROWSER, HTML), ("*/*", JSON), ("text/plain", TEXT)] {
        for path in ["/status", "/health", "/ready", "/health/database", "/page"] {
            let expected = if path == "/page" { HTML } else { expected };
            let answer = get(&client, path, accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{path}");
            if expected == HTML {
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                let policy = answer.header("content-security-policy").expect("has one");
                assert!(policy.starts_with("default-src 'none'; "), "{policy}");
                assert!(answer.body.starts_with("<!doctype html>"));
            }
        }
    }
    let answer = get(&client, "/readyz", BROWSER).await;
    assert_eq!(answer.header("content-type"), Some(JSON));
}

#[cfg(feature = "html")]
#[tokio::test]
async fn names_and_messages_are_text_on_the_page() {
    let health = sample::degraded();
    health.report().await;
    health.enter_maintenance("<u>disk</u>");
    let client = LayerClient(open(health).page("/readyz"));
    let page = get(&client, "/readyz", BROWSER).await.body;
    for markup in ["<img ", "<script>pwned", "<!-- ", "<b>region", "<i>", "<u>"] {
        let escaped = markup.replace('<', "&lt;").replace('>', "&gt;");
        assert!(page.contains(&escaped), "{markup}");
        assert!(!page.contains(markup), "{markup}");
    }
}

#[tokio::test]
async fn after_a_renderers_panic_the_answer_is_the_status() {
    let client = LayerClient(open(broken()).format(Format::custom(Names)));
    for _ in 0..2 {
        let answer = get(&client, "/readyz", "").await;
        assert_eq!((answer.code, &*answer.body), (503, r#"{"status":"down"}"#));
        assert_eq!(answer.header("content-type"), Some(JSON));
    }
    assert_eq!(client.get("/livez").await, (200, String::new()));
}
