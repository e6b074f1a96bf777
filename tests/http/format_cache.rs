//! How often an answer is made, and what makes two answers the same.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
    render::{Render, View},
};

type Service = BoxCloneSyncService<Request<()>, Response<Bytes>, Infallible>;

fn service(layer: HealthLayer) -> Service {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner")))
    });
    let collected = layer.layer(inner).map_future(async |response| {
        let response: Result<Response<_>, Infallible> = response.await;
        let (parts, body) = response.expect("infallible").into_parts();
        let body = body.collect().await.expect("infallible").to_bytes();
        Ok(Response::from_parts(parts, body))
    });
    BoxCloneSyncService::new(collected)
}

async fn ask(service: &Service, path: &str, header: (HeaderName, &'static str)) -> Response<Bytes> {
    let request = Request::get(path)
        .header(header.0, HeaderValue::from_static(header.1))
        .body(())
        .expect("valid");
    service.clone().oneshot(request).await.expect("infallible")
}

/// Counts how often it is asked.
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

/// In a form of its own, which counts, with details for the operator.
fn counted(health: Health, own: &Counts) -> Service {
    service(
        HealthLayer::new(health)
            .details(Access::bearer(["operator"]))
            .format(Format::custom(own.clone())),
    )
}

const OPERATOR: (HeaderName, &str) = (header::AUTHORIZATION, "Bearer operator");
const UNAUTHORIZED: (HeaderName, &str) = (header::USER_AGENT, "unauthorized");

#[tokio::test(start_paused = true)]
async fn each_verdict_is_rendered_once_for_each_form_and_audience() {
    let own = Counts::default();
    let up = async || Ok(Outcome::up());
    let health = Health::builder()
        .add(Dependency::new("database", up).cache_for(Duration::from_millis(500)))
        .build();
    // A start is a change like any other, and makes the answers before it old.
    health.set_started();
    let service = counted(health, &own);
    for round in 1..=3 {
        for _ in 0..100 {
            let full = ask(&service, "/readyz", OPERATOR).await;
            assert_eq!(full.body(), "Full");
            let alone = ask(&service, "/readyz", UNAUTHORIZED).await;
            assert_eq!(alone.body(), "Status");
            // Other forms are made beside it, of the same run.
            let text = ask(&service, "/readyz", (header::ACCEPT, "text/plain")).await;
            assert_eq!(text.body(), "ok");
        }
        assert_eq!(own.now(), 2 * round);
        // Past the verdict and its jitter.
        advance(Duration::from_millis(600)).await;
    }
}

/// A result that holds for an hour is not rendered each second, but for the ages in its details.
#[tokio::test(start_paused = true)]
async fn a_long_lived_result_is_rendered_once_unless_ages_show() {
    let own = Counts::default();
    let hour = Duration::from_secs(3_600);
    let health = Health::builder()
        .add(Dependency::new("database", async || Ok(Outcome::up())).cache_for(hour))
        .build();
    health.set_started();
    let layer = HealthLayer::new(health)
        .details(Access::bearer(["operator"]))
        .format(Format::custom(own.clone()));
    let with_ages = service(layer.clone());
    let without = service(layer.without_measurements());
    for path in ["/readyz", "/livez"] {
        let before = own.now();
        for _ in 0..100 {
            ask(&with_ages, path, UNAUTHORIZED).await;
            ask(&without, path, OPERATOR).await;
            advance(Duration::from_secs(30)).await;
        }
        assert_eq!(own.now() - before, 2, "{path}");
    }
    let before = own.now();
    for _ in 0..100 {
        ask(&with_ages, "/health", OPERATOR).await;
        advance(Duration::from_millis(100)).await;
    }
    // Ten seconds pass.
    assert_eq!(own.now() - before, 10);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_asks_for_nothing_gets_what_is_kept() {
    let own = Counts::default();
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    health.set_started();
    let service = counted(health, &own);
    for path in ["/readyz", "/readyz?", "/readyz?t=1", "/readyz?exclude="] {
        let answer = ask(&service, path, OPERATOR).await;
        assert_eq!(
            (answer.body().as_ref(), own.now()),
            (&b"Full"[..], 1),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_answer_to_a_query_or_for_one_dependency_is_kept_for_nobody() {
    let own = Counts::default();
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let service = counted(health, &own);
    for (round, path) in (1..).zip(["/readyz?verbose", "/readyz?exclude=x", "/readyz/database"]) {
        ask(&service, path, OPERATOR).await;
        assert_eq!(own.now(), round, "{path}");
    }
    for path in ["/readyz?verbose", "/readyz", "/readyz?exclude=database"] {
        // An unauthorized caller's query makes no work.
        ask(&service, path, UNAUTHORIZED).await;
        assert_eq!(own.now(), 4, "{path}");
    }
}

/// Differs from run to run in all but its verdict.
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

/// What `/health` answers in every form, twice, a minute and many runs apart.
async fn twice(layer: HealthLayer) -> Vec<(&'static str, [Response<Bytes>; 2])> {
    let service = service(layer.details(Access::everybody()));
    let mut answers = Vec::new();
    for accept in [
        "application/json",
        "application/health+json",
        "application/vnd.spring-boot.actuator.v3+json",
        "application/openmetrics-text",
        "text/html",
    ] {
        for path in ["/health", "/health/cache", "/readyz?exclude=database"] {
            let first = ask(&service, path, (header::ACCEPT, accept)).await;
            for _ in 0..3 {
                advance(Duration::from_secs(20)).await;
                ask(&service, "/health", (header::ACCEPT, accept)).await;
            }
            let second = ask(&service, path, (header::ACCEPT, accept)).await;
            assert_eq!(first.status(), second.status());
            answers.push((accept, [first, second]));
        }
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn a_stable_answer_changes_with_a_verdict_and_with_nothing_else() {
    for (accept, [first, second]) in
        twice(HealthLayer::new(restless()).without_measurements()).await
    {
        assert_eq!(first.body(), second.body(), "{accept}");
        assert_eq!(first.headers(), second.headers(), "{accept}");
        let text = String::from_utf8_lossy(first.body());
        assert!(!text.contains("take-"), "{text}");
    }
}

/// Else the test above would prove nothing.
#[tokio::test(start_paused = true)]
async fn any_other_answer_changes_with_every_run() {
    for (accept, [first, second]) in twice(HealthLayer::new(restless())).await {
        assert_ne!(first.body(), second.body(), "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stable_answer_tells_what_changed() {
    let health = restless();
    let layer = HealthLayer::new(health.clone())
        .details(Access::everybody())
        .without_measurements();
    let service = service(layer);
    let before = ask(&service, "/readyz", UNAUTHORIZED).await;
    assert_eq!(
        before.body(),
        concat!(
            r#"{"status":"degraded","version":"2.0.0","checks":{"#,
            r#""database":{"status":"up","required":true},"#,
            r#""cache":{"status":"down","required":false,"reason":"timeout"}}}"#
        )
    );
    health.set_draining(true);
    let after = ask(&service, "/readyz", UNAUTHORIZED).await;
    assert_eq!(after.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        after
            .body()
            .starts_with(br#"{"status":"down","reason":"draining","#)
    );
}

#[tokio::test]
async fn paths_of_one_probe_do_not_share_their_names() {
    let health = restless();
    let layer = HealthLayer::new(health)
        .details(Access::everybody())
        .format(Format::text())
        .path("/one", Probe::Full)
        .path("/two", Probe::Full);
    let service = service(layer);
    for name in ["one", "two", "health"] {
        let answer = ask(&service, &format!("/{name}?verbose"), UNAUTHORIZED).await;
        let end = format!("\n{name} check passed\n");
        assert!(answer.body().ends_with(end.as_bytes()), "{answer:?}");
    }
}
