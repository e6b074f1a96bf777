//! A full concurrency limit says nothing about health: probes are answered beside it.

use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{sync::Semaphore, time::timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_health::{Health, HealthLayer, Outcome, service::BusyService};

const LIMIT: Duration = Duration::from_secs(20);

fn request(path: &str) -> Request<()> {
    Request::get(path).body(()).expect("valid")
}

#[tokio::test]
async fn probes_are_answered_while_the_limit_is_full_and_requests_wait_their_turn() {
    let gate = Arc::new(Semaphore::new(0));
    let wait = gate.clone();
    let stuck = service_fn(move |_: Request<()>| {
        let wait = wait.clone();
        async move {
            wait.acquire().await.expect("open").forget();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
        }
    });
    let health = Health::builder()
        .check("a", async || Ok(Outcome::up()))
        .build();
    let inner = ServiceBuilder::new().concurrency_limit(1).service(stuck);
    let mut service = HealthLayer::new(health).layer(BusyService::new(inner));

    let first = tokio::spawn(service.clone().oneshot(request("/work")));
    let second = tokio::spawn(service.clone().oneshot(request("/work")));
    tokio::task::yield_now().await;
    for _ in 0..100 {
        poll_fn(|cx| service.poll_ready(cx))
            .await
            .expect("always ready");
        let response = timeout(LIMIT, service.call(request("/readyz")))
            .await
            .expect("is not behind the limit")
            .expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert!(!first.is_finished() && !second.is_finished());
    gate.add_permits(2);
    for work in [first, second] {
        let response = timeout(LIMIT, work)
            .await
            .expect("in time")
            .expect("no panic");
        assert_eq!(response.expect("infallible").status(), StatusCode::OK);
    }
}
