//! The answer for one dependency: below the probes that look at it, and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, checks::Heartbeat,
};

#[tokio::test]
async fn a_name_is_answered_below_its_probes_alone() {
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
        ("/health/database", Some(StatusCode::SERVICE_UNAVAILABLE)),
        ("/readyz/database", Some(StatusCode::SERVICE_UNAVAILABLE)),
        ("/storage/database", Some(StatusCode::SERVICE_UNAVAILABLE)),
        // A database that is down must not get a process restarted, by whatever path.
        ("/livez/database", None),
        ("/livez/worker", Some(StatusCode::OK)),
        ("/health/queue", Some(StatusCode::OK)),
        ("/storage/queue", None),
        ("/health/unknown", None),
    ];
    for (path, code) in table {
        let request = Request::get(path).body(()).expect("valid");
        let response = service.clone().oneshot(request).await.expect("infallible");
        let expected = code.unwrap_or(StatusCode::OK);
        assert_eq!(response.status(), expected, "{path}");
        let body = response.into_body().collect().await.expect("infallible");
        let body = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        assert_eq!(
            body.contains(r#""required":true"#),
            code.is_some(),
            "{path}"
        );
        assert_eq!(body == "inner", code.is_none(), "{path}");
    }
}

/// The app's routes below a probe path stay its own, whatever their names.
#[tokio::test]
async fn below_a_probe_path_all_else_reaches_the_app() {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let layer = HealthLayer::new(health).details(Access::bearer(["operator"]));
    let denied = layer.clone().allow(Access::nobody());
    let answered_by = async |layer: &HealthLayer, method: Method, path: &str, token: &str| {
        let inner = service_fn(async |_: Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::from("inner")))
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .expect("valid");
        let Ok(response) = layer.layer(inner).oneshot(request).await;
        let is_ours = response.headers().contains_key("cache-control");
        let body = response.into_body().collect().await.expect("infallible");
        assert_eq!(is_ours, body.to_bytes() != "inner");
        if is_ours { "probe" } else { "app" }
    };
    for (method, path, token, expected) in [
        (Method::GET, "/health/database", "operator", "probe"),
        (Method::HEAD, "/readyz/database", "operator", "probe"),
        (Method::GET, "/health/database", "patient", "app"),
        (Method::POST, "/health/database", "operator", "app"),
        (Method::DELETE, "/health/database", "operator", "app"),
        (Method::POST, "/health/records", "operator", "app"),
        (Method::GET, "/health/patients", "operator", "app"),
        (Method::GET, "/livez/x", "patient", "app"),
        (Method::GET, "/livez/database", "operator", "app"),
    ] {
        let case = format!("{method} {path} {token}");
        let found = answered_by(&layer, method.clone(), path, token).await;
        assert_eq!(found, expected, "{case}");
        assert_eq!(
            answered_by(&denied, method, path, token).await,
            "app",
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_probe_at_the_root_answers_the_root_alone() {
    let layer = HealthLayer::new(Health::builder().build())
        .without_default_paths()
        .path("/", Probe::Readiness)
        .details(Access::everybody());
    for (uri, is_probe) in [
        ("/", true),
        ("/?x", true),
        ("http://host", true),
        ("http://host?x", true),
        ("http://host/?x", true),
        ("//x", false),
        ("//", false),
        ("/x", false),
        ("*", false),
        ("http://host//x", false),
    ] {
        let uri: http::Uri = uri.parse().expect("a URI");
        let inner = service_fn(async |_: Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default()))
        });
        let request = Request::get(uri.clone()).body(()).expect("valid");
        let Ok(response) = layer.layer(inner).oneshot(request).await;
        let answered = response.headers().contains_key("cache-control");
        assert_eq!(
            (answered, layer.is_probe(&uri)),
            (is_probe, is_probe),
            "{uri}"
        );
    }
}
