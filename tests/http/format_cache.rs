//! Rendered bodies are shared while their results are valid; without measurements they change with the
//! status only.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Reason,
    render::{Render, View},
};

use super::server::up;

type Service = BoxCloneSyncService<Request<()>, Response<Bytes>, Infallible>;
type Header = (HeaderName, &'static str);

const OPERATOR: Header = (header::AUTHORIZATION, "Bearer operator");
const UNAUTHORIZED: Header = (header::USER_AGENT, "unauthorized");

fn service(layer: HealthLayer) -> Service {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner")))
    });
    let collected = layer.layer(inner).map_future(async |response| {
        let Ok(response) = response.await;
        let response: Response<_> = response;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("infallible").to_bytes();
        Ok(Response::from_parts(parts, body))
    });
    BoxCloneSyncService::new(collected)
}

async fn get(service: &Service, path: &str, header: Header) -> Response<Bytes> {
    let request = Request::get(path).header(header.0, header.1).body(());
    let Ok(response) = service.clone().oneshot(request.expect("valid")).await;
    response
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

/// In the format that counts, with details for the operator.
fn counted(health: Health, counts: &Counts) -> HealthLayer {
    HealthLayer::new(health)
        .details(Access::bearer(["operator"]))
        .format(Format::custom(counts.clone()))
}

/// An app that has started: a start is a change, after which answers are rendered again.
fn cached_for(cache_for: Duration) -> Health {
    let database = Dependency::new("database", async || Ok(Outcome::up()));
    let health = Health::builder().add(database.cache_for(cache_for)).build();
    health.set_started();
    health
}

#[tokio::test(start_paused = true)]
async fn a_result_is_rendered_once_per_format_and_detail() {
    let counts = Counts::default();
    let health = cached_for(Duration::from_millis(500));
    let service = service(counted(health, &counts));
    for round in 1..=3 {
        for _ in 0..100 {
            // A query without a known field is answered with the cached body too.
            for path in ["/readyz", "/readyz?", "/readyz?t=1", "/readyz?exclude="] {
                assert_eq!(get(&service, path, OPERATOR).await.body(), "Full", "{path}");
                let status = get(&service, path, UNAUTHORIZED).await;
                assert_eq!(status.body(), "Status", "{path}");
            }
            let text = get(&service, "/readyz", (header::ACCEPT, "text/plain")).await;
            assert_eq!(text.body(), "ok");
        }
        assert_eq!(counts.now(), 2 * round);
        // Longer than the cache lifetime and its jitter.
        advance(Duration::from_millis(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_lived_result_is_rendered_once_unless_ages_show() {
    let counts = Counts::default();
    let layer = counted(cached_for(Duration::from_secs(3_600)), &counts);
    let with_ages = service(layer.clone());
    let without = service(layer.without_measurements());
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

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_query_or_dependency_is_not_cached() {
    let counts = Counts::default();
    let service = service(counted(up(), &counts));
    for (round, path) in (1..).zip(["/readyz?verbose", "/readyz?exclude=x", "/readyz/database"]) {
        get(&service, path, OPERATOR).await;
        assert_eq!(counts.now(), round, "{path}");
    }
    for path in ["/readyz?verbose", "/readyz", "/readyz?exclude=database"] {
        // An unauthorized caller's query is ignored: one body for all.
        get(&service, path, UNAUTHORIZED).await;
        assert_eq!(counts.now(), 4, "{path}");
    }
}

/// Differs from run to run in everything but its status.
fn restless() -> Health {
    let runs = AtomicUsize::new(0);
    let up = move || {
        let run = runs.fetch_add(1, Ordering::Relaxed) as u64;
        async move {
            tokio::time::sleep(Duration::from_millis(run)).await;
            Ok(Outcome::up().observe("run", run))
        }
    };
    let runs = AtomicUsize::new(0);
    let down = move || {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move { Err(Failure::new(Reason::Timeout).message(format!("take-{run}"))) }
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
async fn without_measurements_runs_do_not_change_an_answer() {
    for without in [true, false] {
        let mut layer = HealthLayer::new(restless()).details(Access::everybody());
        if without {
            layer = layer.without_measurements();
        }
        let service = service(layer);
        for accept in [
            "application/json",
            "application/health+json",
            "application/vnd.spring-boot.actuator.v3+json",
            "application/openmetrics-text",
            "text/html",
        ] {
            let accept = (header::ACCEPT, accept);
            for path in ["/health", "/health/cache", "/readyz?exclude=database"] {
                let first = get(&service, path, accept.clone()).await;
                for _ in 0..3 {
                    advance(Duration::from_secs(20)).await;
                    get(&service, "/health", accept.clone()).await;
                }
                let second = get(&service, path, accept.clone()).await;
                let same = first.body() == second.body();
                assert_eq!(same, without, "{path} {accept:?} {first:?}");
                if without {
                    assert_eq!(first.headers(), second.headers(), "{path} {accept:?}");
                    let text = String::from_utf8_lossy(first.body());
                    assert!(!text.contains("take-"), "{text}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_measurements_a_change_of_status_shows() {
    let health = restless();
    let layer = HealthLayer::new(health.clone()).details(Access::everybody());
    let service = service(layer.without_measurements());
    let before = get(&service, "/readyz", UNAUTHORIZED).await;
    let expected = concat!(
        r#"{"status":"degraded","version":"2.0.0","checks":{"#,
        r#""database":{"status":"up","required":true},"#,
        r#""cache":{"status":"down","required":false,"reason":"timeout"}}}"#
    );
    assert_eq!(before.body(), expected);
    health.set_draining(true);
    let after = get(&service, "/readyz", UNAUTHORIZED).await;
    assert_eq!(after.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        after
            .body()
            .starts_with(br#"{"status":"down","reason":"draining","#)
    );
}
