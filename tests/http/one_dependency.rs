//! The answer for one dependency: below the probes that look at it, and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, checks::Heartbeat,
};

#[tokio::test]
async fn a_name_answers_below_the_probes_that_look_at_it() {
    let health = Health::builder()
        .add(
            Dependency::new("database", async || Err(Failure::new(Reason::Refused)))
                .group("storage"),
        )
        .check("queue", async || Ok(Outcome::up()))
        .liveness_check("worker", Heartbeat::new(Duration::from_secs(60)))
        .build();
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::from("inner")))
    });
    let service = HealthLayer::new(health)
        .path("/storage", Probe::group("storage"))
        .details(Access::everybody())
        .layer(inner);
    let table = [
        ("/health/database", StatusCode::SERVICE_UNAVAILABLE),
        ("/readyz/database", StatusCode::SERVICE_UNAVAILABLE),
        ("/storage/database", StatusCode::SERVICE_UNAVAILABLE),
        // A dead database must not get a process restarted, by whatever path.
        ("/livez/database", StatusCode::NOT_FOUND),
        ("/livez/worker", StatusCode::OK),
        ("/health/queue", StatusCode::OK),
        ("/storage/queue", StatusCode::NOT_FOUND),
        ("/health/nobody", StatusCode::NOT_FOUND),
    ];
    for (path, code) in table {
        let request = Request::get(path).body(()).expect("valid");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), code, "{path}");
        let body = response.into_body().collect().await.expect("infallible");
        let body = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        assert_eq!(
            body.contains(r#""required":true"#),
            code != StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}
