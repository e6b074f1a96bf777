//! Forms of one's own: which place they take, and what they cannot break.

use crate::helpers::http_app::{ask, broken, content_type, healthy, open, serve};
use tower_health::{
    Format,
    render::{Render, View},
};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Native JSON by its media type, and something else by its bytes.
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
async fn a_form_of_ones_own_takes_the_place_of_ours_with_its_media_type() {
    let address = serve(open(healthy()).format(Format::custom(Legacy))).await;
    for accept in [
        "",
        "*/*",
        JSON,
        "application/*",
        "text/plain;q=0.9, application/json",
    ] {
        assert_eq!(
            ask(address, "GET", "/readyz", accept).await.body,
            "{}",
            "{accept}"
        );
    }
    assert_eq!(content_type(address, "/readyz", "text/plain").await, TEXT);
}

/// Panics as soon as it may see something.
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
async fn a_renderer_that_panics_costs_the_body_alone() {
    for (health, code, word) in [(healthy(), 200, "up"), (broken(), 503, "down")] {
        let address = serve(open(health).format(Format::custom(Panics))).await;
        for _ in 0..2 {
            let answer = ask(address, "GET", "/readyz", "").await;
            assert_eq!(answer.code, code);
            assert_eq!(answer.body, format!(r#"{{"status":"{word}"}}"#));
            assert_eq!(answer.header("content-type"), Some(JSON));
        }
        assert_eq!(ask(address, "GET", "/livez", "").await.body, "fine");
    }
}
