//! Which paths are answered, by which probe and with which code.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Probe, Reason, Status, checks::Heartbeat,
};

use super::server::{degraded, down, up};

/// The response to `method` `uri`, from an app that answers everything with `inner`.
async fn send(layer: &HealthLayer, method: &Method, uri: &str, token: &str) -> (u16, String) {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner")))
    });
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .expect("valid");
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let code = response.status().as_u16();
    let is_probe = response.headers().contains_key("cache-control");
    let retry = response.headers().contains_key("retry-after");
    assert_eq!(retry, code == 503, "{method} {uri}");
    let body = response.into_body().collect().await.expect("infallible");
    let body = String::from_utf8(body.to_bytes().into()).expect("text");
    assert_eq!(is_probe, body != "inner", "{method} {uri}");
    (code, body)
}

async fn get(layer: &HealthLayer, uri: &str) -> (u16, String) {
    send(layer, &Method::GET, uri, "").await
}

#[tokio::test]
async fn a_dependency_is_answered_below_its_probes_only() {
    let down = async || Err(Failure::new(Reason::Refused));
    let health = Health::builder()
        .add(Dependency::new("database", down).group("storage"))
        .add(Dependency::new("cache", down).optional())
        .check("queue", async || Ok(tower_health::Outcome::up()))
        .liveness_check("worker", Heartbeat::new(Duration::from_secs(60)))
        .build();
    let layer = HealthLayer::new(health)
        .path("/storage", Probe::group("storage"))
        .details(Access::everybody());
    for (path, code) in [
        ("/health/database", Some(503)),
        ("/readyz/database", Some(503)),
        ("/storage/database", Some(503)),
        ("/health/data%62ase", Some(503)),
        // Optional or not: this dependency is down.
        ("/health/cache", Some(503)),
        // A database that is down must not get a process restarted, by whatever path.
        ("/livez/database", None),
        ("/livez/worker", Some(200)),
        ("/health/queue", Some(200)),
        ("/storage/queue", None),
        ("/health/unknown", None),
    ] {
        let (found, body) = get(&layer, path).await;
        assert_eq!(found, code.unwrap_or(200), "{path}");
        assert_eq!(body.contains(r#""required":"#), code.is_some(), "{path}");
    }
}

/// The app's routes below a probe path still reach the app, whatever their names.
#[tokio::test]
async fn below_a_probe_path_all_other_requests_reach_the_app() {
    let layer = HealthLayer::new(up()).details(Access::bearer(["operator"]));
    let denied = layer.clone().allow(Access::nobody());
    for (method, path, token, is_probe) in [
        (Method::GET, "/health/database", "operator", true),
        (Method::HEAD, "/readyz/database", "operator", true),
        (Method::GET, "/health/database", "other", false),
        (Method::POST, "/health/database", "operator", false),
        (Method::DELETE, "/health/database", "operator", false),
        (Method::GET, "/health/records", "operator", false),
        (Method::GET, "/livez/database", "operator", false),
    ] {
        let (_, body) = send(&layer, &method, path, token).await;
        assert_eq!(body != "inner", is_probe, "{method} {path} {token}");
        let (_, body) = send(&denied, &method, path, token).await;
        assert_eq!(body, "inner", "{method} {path} {token}");
    }
}

#[tokio::test]
async fn a_probe_at_the_root_answers_the_root_only() {
    let layer = HealthLayer::new(Health::builder().build())
        .without_default_paths()
        .path("/", Probe::Readiness)
        .details(Access::everybody());
    for uri in ["/", "/?x", "http://host", "http://host?x", "http://host/?x"] {
        assert_ne!(get(&layer, uri).await.1, "inner", "{uri}");
    }
    for uri in ["//x", "//", "/x", "*", "http://host//x", "/readyz"] {
        assert_eq!(get(&layer, uri).await.1, "inner", "{uri}");
    }
}

#[tokio::test]
async fn overlapping_paths_do_not_depend_on_their_order() {
    let paths = [
        ("/status", Probe::Liveness),
        ("/status/detail", Probe::Full),
    ];
    for order in [[0, 1], [1, 0]] {
        let mut layer = HealthLayer::new(down())
            .without_default_paths()
            .details(Access::everybody());
        for index in order {
            layer = layer.path(paths[index].0, paths[index].1.clone());
        }
        assert_eq!(get(&layer, "/status").await.0, 200);
        assert_eq!(get(&layer, "/status/detail").await.0, 503);
        assert_eq!(get(&layer, "/status/detail/database").await.0, 503);
        assert_eq!(get(&layer, "/status/database").await.1, "inner");
    }
}

#[tokio::test]
async fn each_status_has_its_configured_code() {
    for (health, default, code) in [(up(), 200, 200), (degraded(), 200, 207), (down(), 503, 500)] {
        let layer = HealthLayer::new(health);
        assert_eq!(get(&layer, "/health").await.0, default);
        let layer = layer
            .status_code(Status::Down, StatusCode::INTERNAL_SERVER_ERROR)
            .status_code(Status::Degraded, StatusCode::MULTI_STATUS);
        assert_eq!(get(&layer, "/health").await.0, code);
    }
}

#[test]
fn is_probe_knows_the_probe_paths_without_an_answer() {
    let layer = HealthLayer::new(up());
    let uri = |text: &str| text.parse::<Uri>().expect("a URI");
    for probe in ["/readyz", "/readyz?verbose", "http://host/livez"] {
        assert!(layer.is_probe(&uri(probe)), "{probe}");
    }
    // `/health/database` is answered to authorized callers only, and the app may have a route there.
    for other in ["/health/database", "/", "/readyz/", "/READYZ", "*"] {
        assert!(!layer.is_probe(&uri(other)), "{other}");
    }
    let removed = layer.clone().without_default_paths();
    assert!(!removed.is_probe(&uri("/readyz")));
    for name in ["Check", "Watch", "List"] {
        let call = uri(&format!("/grpc.health.v1.Health/{name}"));
        assert!(!layer.is_probe(&call), "{name}");
        #[cfg(feature = "grpc")]
        assert!(layer.clone().grpc().is_probe(&call), "{name}");
    }
    #[cfg(feature = "grpc")]
    for other in ["", "/", "/Check/x"] {
        let other = uri(&format!("/grpc.health.v1.Health{other}"));
        assert!(!layer.clone().grpc().is_probe(&other), "{other}");
    }
}
