//! Which paths are answered, by which probe, with which code, and with which mark for outer layers.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
    checks::Heartbeat, service::ProbeMark,
};

use crate::helpers::{
    layer_client::LayerClient,
    server::{degraded, down, up},
};

/// A database that is down must not get a process restarted, by whatever path.
#[tokio::test]
async fn a_dependency_is_answered_below_its_probes_only() {
    let down = async || Err(Failure::new(Reason::Refused));
    let health = Health::builder()
        .add(Dependency::new("database", down).group("storage"))
        .add(Dependency::new("cache", down).optional())
        .check("queue", async || Ok(Outcome::up()))
        .liveness_check("worker", Heartbeat::new(Duration::from_secs(60)))
        .build();
    let layer = HealthLayer::new(health)
        .path("/storage", Probe::group("storage"))
        .path("/storage/detail", Probe::Full)
        .details(Access::bearer(["operator"]));
    let denied = LayerClient(layer.clone().allow(Access::nobody()));
    let client = LayerClient(layer);
    let (operator, other) = ("Bearer operator", "Bearer other");
    for (method, path, token, expected) in [
        ("GET", "/health/database", operator, 503),
        ("HEAD", "/health/database", operator, 503),
        ("GET", "/readyz/database", operator, 503),
        ("GET", "/storage/database", operator, 503),
        ("GET", "/storage/detail/cache", operator, 503),
        ("GET", "/health/data%62ase", operator, 503),
        // Optional or not: this dependency is down.
        ("GET", "/health/cache", operator, 503),
        ("GET", "/livez/worker", operator, 200),
        ("GET", "/health/queue", operator, 200),
        // All other requests below a probe path reach the app, whatever their names: 0.
        ("GET", "/health/database", other, 0),
        ("POST", "/health/database", operator, 0),
        ("DELETE", "/health/database", operator, 0),
        ("GET", "/livez/database", operator, 0),
        ("GET", "/storage/queue", operator, 0),
        ("GET", "/health/unknown", operator, 0),
    ] {
        let header = ("authorization", token);
        let answer = client.request(method, path, header).await;
        let code = if answer.is_probe() { answer.code } else { 0 };
        assert_eq!(code, expected, "{method} {path} {token}");
        let is_retried = answer.header("retry-after").is_some();
        assert_eq!(is_retried, expected == 503, "{method} {path}");
        let is_entry = answer.body.contains(r#""required":"#);
        assert_eq!(is_entry, expected != 0 && method == "GET", "{path}");
        let answer = denied.request(method, path, header).await;
        assert_eq!(answer.body, "inner", "{method} {path} {token}");
    }
}

#[tokio::test]
async fn each_status_has_its_configured_code() {
    for (health, default, code) in [(up(), 200, 200), (degraded(), 200, 207), (down(), 503, 500)] {
        let layer = HealthLayer::new(health);
        assert_eq!(LayerClient(layer.clone()).code("/health").await, default);
        let layer = layer
            .status_code(Status::Down, StatusCode::INTERNAL_SERVER_ERROR)
            .status_code(Status::Degraded, StatusCode::MULTI_STATUS);
        assert_eq!(LayerClient(layer).code("/health").await, code);
    }
}

#[test]
fn is_probe_knows_the_probe_paths_without_an_answer() {
    let layer = HealthLayer::new(up());
    for (text, expected) in [
        ("/readyz?verbose", true),
        ("http://host/livez", true),
        // It is answered to authorized callers only, and the app may have a route there.
        ("/health/database", false),
        ("/readyz/", false),
        ("/grpc.health.v1.Health/Check", false),
    ] {
        let uri: Uri = text.parse().expect("a URI");
        assert_eq!(layer.is_probe(&uri), expected, "{text}");
        let removed = layer.clone().without_default_paths();
        assert!(!removed.is_probe(&uri), "{text}");
        #[cfg(feature = "grpc")]
        {
            let expected = expected || text.ends_with("/Check");
            assert_eq!(layer.clone().grpc().is_probe(&uri), expected, "{text}");
        }
    }
}

#[tokio::test]
async fn probes_and_rejections_are_marked_and_traffic_is_not() {
    let app =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::<Full<Bytes>>::default()));
    let plain = HealthLayer::new(up());
    let marks = plain.clone().mark_probes();
    let denies = marks.clone().allow(Access::nobody());
    let forwards = denies.clone().forward_denied();
    for (layer, method, target, expected) in [
        // First the answer that waits for a run, then the cached one.
        (&marks, "GET", "/readyz", (200, true)),
        (&marks, "GET", "/readyz", (200, true)),
        (&marks, "POST", "/livez", (405, true)),
        (&marks, "GET", "/health/nothing", (200, false)),
        (&denies, "GET", "/readyz", (403, true)),
        (&forwards, "GET", "/readyz", (200, false)),
        (&plain, "GET", "/readyz", (200, false)),
    ] {
        let request = Request::builder().method(method).uri(target);
        let request = request.body(()).expect("valid");
        let Ok(response) = layer.layer(app).oneshot(request).await;
        let mark = response.extensions().get::<ProbeMark>();
        let found = (response.status().as_u16(), mark.is_some());
        assert_eq!(found, expected, "{method} {target}");
    }
}
