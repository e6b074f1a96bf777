//! Rendered bodies are shared while their results are valid; without measurements they change with the
//! status only.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::advance;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Reason,
    render::{Render, View},
};

use crate::helpers::{layer_client::LayerClient, wire::Answer};

type Header = (&'static str, &'static str);

const OPERATOR: Header = ("authorization", "Bearer operator");
const UNAUTHORIZED: Header = ("user-agent", "unauthorized");

async fn get(client: &LayerClient, path: &str, header: Header) -> Answer {
    client.request("GET", path, header).await
}

/// A format that counts how often it is rendered.
#[derive(Clone, Default)]
struct Counts(Arc<AtomicUsize>);

impl Counts {
    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Render for Counts {
    fn content_type(&self) -> &'static str {
        "application/x-counts"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        self.0.fetch_add(1, Ordering::Relaxed);
        format!("{:?}", view.detail()).into()
    }
}

/// In the format that counts, with details for the operator. The app has started: a start is a change,
/// after which answers are rendered again.
fn counted(cache_for: Duration, counts: &Counts) -> HealthLayer {
    let database = Dependency::new("database", async || Ok(Outcome::up()));
    let health = Health::builder().add(database.cache_for(cache_for)).build();
    health.set_started();
    HealthLayer::new(health)
        .details(Access::bearer(["operator"]))
        .format(Format::custom(counts.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_result_is_rendered_once_per_format_and_detail() {
    let counts = Counts::default();
    let client = LayerClient(counted(Duration::from_millis(500), &counts));
    for round in 1..=3 {
        for _ in 0..10 {
            // A query without a known field is answered with the cached body too.
            for path in ["/readyz", "/readyz?t=1", "/readyz?exclude="] {
                assert_eq!(get(&client, path, OPERATOR).await.body, "Full", "{path}");
                let status = get(&client, path, UNAUTHORIZED).await;
                assert_eq!(status.body, "Status", "{path}");
            }
            let text = get(&client, "/readyz", ("accept", "text/plain")).await;
            assert_eq!(text.body, "ok");
        }
        assert_eq!(counts.now(), 2 * round);
        // Longer than the cache lifetime and its jitter.
        advance(Duration::from_millis(600)).await;
    }
    // Answers to a query or about one dependency are not cached.
    for (round, path) in (7..).zip(["/readyz?verbose", "/readyz?exclude=x", "/readyz/database"]) {
        get(&client, path, OPERATOR).await;
        assert_eq!(counts.now(), round, "{path}");
    }
    for path in ["/readyz?verbose", "/readyz", "/readyz?exclude=database"] {
        // An unauthorized caller's query is ignored: one body for all.
        get(&client, path, UNAUTHORIZED).await;
        assert_eq!(counts.now(), 10, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_lived_result_is_rendered_once_unless_ages_show() {
    let counts = Counts::default();
    let layer = counted(Duration::from_secs(3_600), &counts);
    let with_ages = LayerClient(layer.clone());
    let without = LayerClient(layer.without_measurements());
    for path in ["/readyz", "/livez"] {
        let before = counts.now();
        for _ in 0..100 {
            get(&with_ages, path, UNAUTHORIZED).await;
            get(&without, path, OPERATOR).await;
            advance(Duration::from_secs(30)).await;
        }
        assert_eq!(counts.now() - before, 2, "{path}");
    }
    let before = counts.now();
    for _ in 0..100 {
        get(&with_ages, "/health", OPERATOR).await;
        advance(Duration::from_millis(100)).await;
    }
    // Ages are in whole seconds, and ten of them pass.
    assert_eq!(counts.now() - before, 10);
}

/// Differs from run to run in everything but its status.
fn restless() -> Health {
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    let up = move || {
        let run = counter.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Outcome::up().observe("run", run)))
    };
    let down = move || {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        ready(Err(Failure::new(Reason::Timeout).message(run.to_string())))
    };
    let health = Health::builder()
        .check("database", up)
        .add(Dependency::new("cache", down).optional())
        .info("version", "2.0.0")
        .build();
    health.set_started();
    health
}

#[tokio::test(start_paused = true)]
async fn without_measurements_only_a_change_of_status_shows() {
    let health = restless();
    let layer = LayerClient::new(&health).0;
    let without = LayerClient(layer.clone().without_measurements());
    for (client, is_same) in [(&without, true), (&LayerClient(layer), false)] {
        for accept in ["application/json", "application/health+json"] {
            let accept = ("accept", accept);
            for path in ["/health", "/health/cache", "/readyz?exclude=database"] {
                let first = get(client, path, accept).await;
                advance(Duration::from_secs(20)).await;
                get(client, "/health", accept).await;
                let second = get(client, path, accept).await;
                assert_eq!(first == second, is_same, "{path} {first:?}");
            }
        }
    }
    let expected = concat!(
        r#"{"status":"degraded","version":"2.0.0","checks":{"#,
        r#""database":{"status":"up","required":true},"#,
        r#""cache":{"status":"down","required":false,"reason":"timeout"}}}"#
    );
    assert_eq!(without.get("/readyz").await.1, expected);
    health.enter_maintenance("moving the disk");
    let (code, body) = without.get("/readyz").await;
    let start = r#"{"status":"down","reason":"maintenance","version":"#;
    assert!(code == 503 && body.starts_with(start), "{body}");
    #[cfg(feature = "html")]
    {
        let client = LayerClient(without.0.page("/health"));
        let page = get(&client, "/health", ("accept", "text/html")).await.body;
        for varies in [">As of ", "moving the disk"] {
            assert!(!page.contains(varies), "{varies}: {page}");
        }
    }
}
