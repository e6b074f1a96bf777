//! In which form a probe is answered, over a real server.

use crate::helpers::http_app::{ask, broken, content_type, healthy, open, serve};
use crate::helpers::wire::Answer;
use tower_health::{
    Format, Probe,
    render::{Render, View},
};

const JSON: &str = "application/json";
const HEALTH_JSON: &str = "application/health+json";
const SPRING: &str = "application/vnd.spring-boot.actuator.v3+json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A form of this test's own.
struct Words;

impl Render for Words {
    fn content_type(&self) -> &'static str {
        "application/x-words"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let names = view.entries().iter().map(|entry| &*entry.name);
        names.collect::<Vec<_>>().join(" ").into_bytes()
    }
}

#[tokio::test]
async fn accept_names_the_form() {
    let address = serve(open(broken())).await;
    let table = [
        ("", JSON, r#"{"status":"down","checks":{"#),
        ("*/*", JSON, r#"{"status":"down","#),
        (JSON, JSON, r#"{"status":"down","#),
        (HEALTH_JSON, HEALTH_JSON, r#"{"status":"fail","#),
        (SPRING, SPRING, r#"{"status":"DOWN","#),
        (
            "application/vnd.spring-boot.actuator.v3+json, application/json",
            SPRING,
            "",
        ),
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
        ("text/plain;q=0.5, application/health+json;q=0.4", TEXT, ""),
        (
            // A browser's, whatever features are on: no path offers the page unless it is set to.
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            JSON,
            "",
        ),
        // What nobody here speaks is no reason to fail a probe.
        ("image/png", JSON, ""),
        ("image/png;q=x, ,;", JSON, ""),
    ];
    for path in ["/health", "/readyz"] {
        for (accept, expected, start) in table {
            let answer = ask(address, "GET", path, accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            assert!(answer.body.starts_with(start), "{accept}: {}", answer.body);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let scraped = expected == OPENMETRICS;
            assert_eq!(answer.code, if scraped { 200 } else { 503 }, "{accept}");
        }
    }
    assert_eq!(
        content_type(address, "/health/search", "text/plain").await,
        TEXT
    );
}

#[tokio::test]
async fn the_head_of_each_form_is_the_same_without_its_body() {
    let address = serve(open(broken())).await;
    for accept in [
        JSON,
        HEALTH_JSON,
        SPRING,
        "text/plain",
        "text/html",
        OPENMETRICS,
    ] {
        // What is asked first fills the cache: times in the body must not move in between.
        let answer = ask(address, "GET", "/health", accept).await;
        let head = ask(address, "HEAD", "/health", accept).await;
        assert_eq!(
            head,
            Answer {
                body: String::new(),
                ..answer
            },
            "{accept}"
        );
    }
}

#[tokio::test]
async fn the_layers_format_is_for_whoever_names_none() {
    for (format, expected) in [
        (Format::json(), JSON),
        (Format::health_json(), HEALTH_JSON),
        (Format::spring(), SPRING),
        (Format::text(), TEXT),
        (Format::openmetrics(), OPENMETRICS),
        (Format::custom(Words), "application/x-words"),
    ] {
        let address = serve(open(broken()).format(format)).await;
        for accept in ["", "*/*", "image/png"] {
            let answer = ask(address, "GET", "/readyz", accept).await;
            assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
            // Who names no form is a prober: the code must tell, even of what a scraper reads.
            assert_eq!(answer.code, 503, "{expected}");
        }
        assert_eq!(content_type(address, "/readyz", JSON).await, JSON);
        assert_eq!(content_type(address, "/readyz", "text/plain").await, TEXT);
        let scraped = ask(address, "GET", "/readyz", "application/openmetrics-text").await;
        assert_eq!(scraped.header("content-type"), Some(OPENMETRICS));
        assert_eq!(scraped.code, 200, "Prometheus drops what is not");
    }
}

#[tokio::test]
async fn a_path_keeps_its_own_format_whatever_accept_says() {
    let layer = open(broken())
        .format(Format::health_json())
        .path_with_format("/actuator/health", Probe::Full, Format::spring())
        .path_with_format("/healthz", Probe::Full, Format::text())
        .path_with_format("/metrics/health", Probe::Full, Format::openmetrics())
        .path_with_format("/words", Probe::group("storage"), Format::custom(Words))
        .path("/other", Probe::Full);
    let address = serve(layer).await;
    for accept in ["", "*/*", JSON, "text/html", "text/plain;q=0"] {
        for (path, expected) in [
            ("/actuator/health", SPRING),
            ("/actuator/health/search", SPRING),
            ("/healthz", TEXT),
            ("/metrics/health", OPENMETRICS),
            ("/words", "application/x-words"),
        ] {
            assert_eq!(
                content_type(address, path, accept).await,
                expected,
                "{accept}"
            );
        }
    }
    assert_eq!(content_type(address, "/other", "").await, HEALTH_JSON);
    assert_eq!(ask(address, "GET", "/metrics/health", "").await.code, 200);
    assert_eq!(ask(address, "GET", "/actuator/health", "").await.code, 503);
    assert_eq!(ask(address, "GET", "/words", "").await.body, "database");
}

#[cfg(feature = "html")]
#[tokio::test]
async fn the_page_has_a_strict_policy() {
    let layer = open(healthy())
        .path_with_format("/page", Probe::Full, Format::html())
        .page("/health");
    let address = serve(layer).await;
    for (path, accept) in [
        ("/page", ""),
        ("/page", JSON),
        ("/page", "text/plain"),
        ("/health", "text/html"),
    ] {
        let page = ask(address, "GET", path, accept).await;
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let policy = page.header("content-security-policy").expect("has one");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(page.body.starts_with("<!doctype html>"));
    }
}

/// What a browser sends.
#[cfg(feature = "html")]
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[cfg(feature = "html")]
#[tokio::test]
async fn a_page_is_offered_beside_the_other_formats() {
    const HTML: &str = "text/html; charset=utf-8";
    // The order of calls does not matter, nor whether a probe is there already.
    let layer = open(healthy())
        .page("/status")
        .page("/health")
        .page("/ready")
        .path("/ready", Probe::Readiness);
    let address = serve(layer).await;
    for path in ["/status", "/health", "/ready", "/health/database"] {
        for (accept, expected) in [
            (BROWSER, HTML),
            ("text/html", HTML),
            ("", JSON),
            ("*/*", JSON),
            ("text/plain", TEXT),
        ] {
            let found = content_type(address, path, accept).await;
            assert_eq!(found, expected, "{path} {accept}");
        }
    }
    for path in ["/readyz", "/livez", "/readyz/database"] {
        assert_eq!(content_type(address, path, BROWSER).await, JSON, "{path}");
    }
}

#[cfg(feature = "html")]
#[tokio::test]
async fn a_layer_whose_format_is_the_page_offers_the_others_too() {
    let address = serve(open(healthy()).format(Format::html())).await;
    for (accept, expected) in [
        ("", "text/html; charset=utf-8"),
        (JSON, JSON),
        ("text/plain", TEXT),
    ] {
        assert_eq!(content_type(address, "/readyz", accept).await, expected);
    }
}

#[tokio::test]
async fn nobody_sniffs_text() {
    let address = serve(open(healthy())).await;
    for (accept, expected) in [
        ("text/plain", Some("nosniff")),
        (JSON, None),
        (HEALTH_JSON, None),
        (OPENMETRICS, None),
    ] {
        let answer = ask(address, "GET", "/health", accept).await;
        assert_eq!(
            answer.header("x-content-type-options"),
            expected,
            "{accept}"
        );
    }
}
