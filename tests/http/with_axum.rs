//! The layer in and around axum routers: its place decides which paths are probes.

use axum::{Router, routing::get};
use tower::{Layer, make::Shared};
use tower_health::HealthLayer;

use crate::helpers::{
    server::{listen, serve_axum, up},
    wire,
};

fn layer() -> HealthLayer {
    HealthLayer::new(up())
}

fn app() -> Router {
    Router::new().route("/", get(async || "index"))
}

/// `Router::layer` wraps the routes and the fallback that are there.
#[tokio::test]
async fn the_place_of_the_layer_decides_which_paths_are_probes() {
    let items = Router::new().route("/items", get(async || "items"));
    let items = items.fallback(async || "no item").layer(layer());
    // What `/readyz` and `/api/readyz` answer: `probe`, or the body of the app.
    for (case, router, expected) in [
        ("around everything", app().layer(layer()), ["probe", ""]),
        (
            "in a nested router",
            app().nest("/api", items),
            ["", "probe"],
        ),
        (
            "before a fallback",
            app().layer(layer()).fallback(async || "fallback"),
            ["fallback"; 2],
        ),
        (
            "over a route of the same path",
            app()
                .route("/readyz", get(async || "the app's"))
                .layer(layer()),
            ["probe", ""],
        ),
    ] {
        let address = serve_axum(router).await;
        for (path, expected) in ["/readyz", "/api/readyz"].into_iter().zip(expected) {
            let answer = wire::get(address, path).await;
            let found = if answer.is_probe() {
                "probe"
            } else {
                &answer.body
            };
            assert_eq!(found, expected, "{case}: {path}");
        }
    }
}

#[tokio::test]
async fn a_wrapped_router_answers_probes_and_its_own_paths() {
    // A later fallback is inside too, unlike with `Router::layer`.
    let router = app().fallback(async || "fallback");
    let service = Shared::new(layer().keep_body_type().layer(router));
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, service).await });
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        let answer = wire::get(address, path).await;
        assert!(answer.is_probe() && answer.code == 200, "{path}");
    }
    assert_eq!(wire::get(address, "/").await.body, "index");
    assert_eq!(wire::get(address, "/unknown").await.body, "fallback");
}
