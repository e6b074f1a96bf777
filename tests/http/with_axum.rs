//! The layer around axum routers, over a real socket.

use crate::helpers::wire;
use std::net::SocketAddr;

use crate::helpers::wire::{Answer, Wire, soon};
use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower::Layer;
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
};

const DEFAULT_PATHS: [&str; 4] = ["/livez", "/readyz", "/startupz", "/health"];

fn health() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .info("version", "1.2.3")
        .build()
}

fn broken() -> Health {
    Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .build()
}

fn degraded() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .add(Dependency::new("cache", async || Err(Failure::new(Reason::Refused))).optional())
        .build()
}

fn app() -> Router {
    Router::new()
        .route("/", get(async || "index"))
        .route("/echo", post(async |body: Bytes| body))
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// With the peer's address noted in each request.
async fn serve_noting_peers(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    wire.send(request).await;
    wire.answer().await
}

fn is_probe(answer: &Answer) -> bool {
    answer.header("cache-control") == Some("no-store")
}

#[tokio::test]
async fn the_default_paths_are_answered_and_the_app_goes_on() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    for path in ["/readyz", "/livez", "/startupz", "/health"] {
        let answer = wire::get(address, path).await;
        assert_eq!(answer.code, 200, "{path}");
        assert_eq!(answer.body, r#"{"status":"up"}"#, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-length"), Some("15"));
        assert_eq!(answer.headers.len(), 3, "no more headers: {answer:?}");
    }
    assert_eq!(wire::get(address, "/").await.body, "index");
    let echo = raw(
        address,
        "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
    assert_eq!(echo.body, "hello");
    assert_eq!(wire::get(address, "/unknown").await.code, 404);
}

#[tokio::test]
async fn a_router_wrapped_from_outside_serves() {
    let layer = HealthLayer::new(health()).keep_body_type();
    let service = layer.layer(app());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, tower::make::Shared::new(service)).await });
    for path in DEFAULT_PATHS {
        assert!(is_probe(&wire::get(address, path).await), "{path}");
    }
    assert_eq!(wire::get(address, "/").await.body, "index");
    assert_eq!(wire::get(address, "/unknown").await.code, 404);
}

#[tokio::test]
async fn a_layer_around_nested_and_merged_routers_answers_at_the_root_only() {
    let api = Router::new().route("/items", get(async || "items"));
    let more = Router::new().route("/more", get(async || "more"));
    let app = app().nest("/api", api).merge(more);
    let address = serve(app.layer(HealthLayer::new(health()))).await;
    assert!(is_probe(&wire::get(address, "/readyz").await));
    assert_eq!(wire::get(address, "/api/items").await.body, "items");
    assert_eq!(wire::get(address, "/more").await.body, "more");
    assert_eq!(wire::get(address, "/api/readyz").await.code, 404);
}

#[tokio::test]
async fn a_layer_inside_a_nested_router_sees_paths_without_the_prefix() {
    let api = Router::new()
        .route("/items", get(async || "items"))
        .fallback(async || (StatusCode::NOT_FOUND, "api"))
        .layer(HealthLayer::new(health()));
    let address = serve(app().nest("/api", api)).await;
    assert!(is_probe(&wire::get(address, "/api/readyz").await));
    assert_eq!(wire::get(address, "/api/items").await.body, "items");
    assert_eq!(wire::get(address, "/api/unknown").await.body, "api");
    assert!(!is_probe(&wire::get(address, "/readyz").await));
}

#[tokio::test]
async fn a_layered_router_that_is_merged_brings_its_probes_along() {
    let layered = Router::new()
        .route("/more", get(async || "more"))
        .layer(HealthLayer::new(health()));
    let address = serve(app().merge(layered)).await;
    assert_eq!(wire::get(address, "/more").await.body, "more");
    assert_eq!(wire::get(address, "/").await.body, "index");
    assert!(is_probe(&wire::get(address, "/readyz").await));
}

/// A trap of `Router::layer`: it wraps what is there, and a later fallback is not. Wrapped from
/// outside, the router has no such order.
#[tokio::test]
async fn a_fallback_set_after_the_layer_takes_the_probes_away() {
    let late = app()
        .layer(HealthLayer::new(broken()))
        .fallback(async || "fallback");
    let address = serve(late).await;
    assert_eq!(wire::get(address, "/readyz").await.body, "fallback");

    let from_outside = HealthLayer::new(broken())
        .keep_body_type()
        .layer(app().fallback(async || "fallback"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let shared = tower::make::Shared::new(from_outside);
    tokio::spawn(async move { axum::serve(listener, shared).await });
    assert_eq!(wire::get(address, "/readyz").await.code, 503);
    assert_eq!(wire::get(address, "/unknown").await.body, "fallback");
}

/// The placement trap that the crate's documentation names.
#[tokio::test]
async fn a_layer_inside_a_nested_router_without_a_fallback_is_never_asked() {
    let api = Router::new()
        .route("/items", get(async || "items"))
        .layer(HealthLayer::new(health()));
    let address = serve(app().nest("/api", api)).await;
    assert_eq!(wire::get(address, "/api/readyz").await.code, 404);
}

#[tokio::test]
async fn a_probe_wins_over_a_route_and_a_fallback() {
    let app = app()
        .route("/health", get(async || "the app's own"))
        .fallback(async || "fallback")
        .layer(HealthLayer::new(health()));
    let address = serve(app).await;
    for path in DEFAULT_PATHS {
        assert!(is_probe(&wire::get(address, path).await), "{path}");
    }
    assert_eq!(wire::get(address, "/unknown").await.body, "fallback");
}

#[tokio::test]
async fn a_path_that_only_resembles_a_probe_passes_through() {
    let app = app()
        .fallback(async |uri: http::Uri| format!("app {uri}"))
        .layer(HealthLayer::new(health()));
    let address = serve(app).await;
    for path in [
        "/readyz/",
        "/READYZ",
        "/Readyz",
        "/%72eadyz",
        "//readyz",
        "/readyz//",
        "/readyz/a/b",
        "/./readyz",
        "/x/../readyz",
        "/readyz%20",
        "/readyzz",
        "/ready",
        "/readyz;a=b",
    ] {
        let answer = wire::get(address, path).await;
        assert_eq!(answer.body, format!("app {path}"));
        assert!(!is_probe(&answer), "{path}");
    }
}

#[tokio::test]
async fn the_query_and_the_authority_do_not_matter() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    for target in [
        "/readyz?",
        "/readyz?verbose",
        "/readyz?a=/readyz/x",
        "http://elsewhere.example/readyz",
        "http://elsewhere.example:81/readyz?x",
    ] {
        assert!(is_probe(&wire::get(address, target).await), "{target}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_on_a_probe_and_pass_elsewhere() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    let mut wire = Wire::connect(address).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"] {
        for path in DEFAULT_PATHS {
            wire.send(format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
            let answer = wire.answer().await;
            assert_eq!(answer.code, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
            assert!(is_probe(&answer));
            assert_eq!(answer.body, "");
        }
    }
    // axum's own 405: the app's affair.
    let answer = raw(
        address,
        "DELETE / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(answer.code, 405);
    assert!(!is_probe(&answer));
}

#[tokio::test]
async fn head_has_the_head_of_get_and_no_body() {
    for health in [health(), broken()] {
        let layer = HealthLayer::new(health).allow(Access::predicate(|head| {
            !head.headers().contains_key("x-unauthorized")
        }));
        let layer = layer.details(Access::everybody());
        let address = serve(app().layer(layer)).await;
        let mut wire = Wire::connect(address).await;
        for (path, header) in [
            ("/livez", ""),
            ("/readyz", ""),
            ("/health", ""),
            ("/health/database", ""),
            ("/health", "x-unauthorized: 1\r\n"),
        ] {
            let request = |method: &str| {
                format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n")
            };
            wire.send(request("GET")).await;
            let full = wire.answer().await;
            wire.send(request("HEAD")).await;
            let mut head = wire.answer_to_head().await;
            head.headers.sort();
            let mut expected = Answer {
                body: String::new(),
                ..full
            };
            expected.headers.sort();
            assert_eq!(head, expected, "{path} {header}");
        }
        // Had a body followed, this would read it instead.
        assert_eq!(wire.get("/").await.body, "index");
    }
}

#[tokio::test]
async fn head_has_the_head_of_get_over_http2() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    let mut client = wire::http2(address).await;
    let mut heads = Vec::new();
    for method in [Method::GET, Method::HEAD] {
        let request = Request::builder()
            .method(&method)
            .uri(format!("http://{address}/readyz"))
            .body(Full::default())
            .expect("valid");
        let (mut parts, body) = soon(client.send_request(request))
            .await
            .expect("answered")
            .into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        assert_eq!(body.is_empty(), method == Method::HEAD);
        assert_eq!(parts.headers["content-length"], "15");
        parts.headers.remove("date");
        heads.push((parts.status, parts.headers));
    }
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test]
async fn a_failing_probe_says_when_to_come_back_and_keeps_the_connection() {
    let address = serve(app().layer(HealthLayer::new(broken()))).await;
    let mut wire = Wire::connect(address).await;
    for _ in 0..3 {
        let answer = wire.get("/readyz").await;
        assert_eq!(answer.code, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), None);
        assert!(is_probe(&answer));
    }
    assert_eq!(wire.get("/livez").await.code, 200, "the same connection");
    assert_eq!(wire.get("/").await.body, "index");
    let up = wire.get("/livez").await;
    assert_eq!(up.header("retry-after"), None);
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let address = serve(app().layer(HealthLayer::new(degraded()))).await;
    let mut wire = Wire::connect(address).await;
    let requests: String = ["/readyz", "/", "/livez", "/health", "/"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        .concat();
    wire.send(requests).await;
    for body in [
        r#"{"status":"degraded"}"#,
        "index",
        r#"{"status":"up"}"#,
        r#"{"status":"degraded"}"#,
        "index",
    ] {
        assert_eq!(wire.answer().await.body, body);
    }
}

#[tokio::test]
async fn probers_of_every_dialect_are_answered() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    for (request, version) in [
        ("GET /readyz HTTP/1.0\r\n\r\n", "HTTP/1.0"),
        ("GET /readyz HTTP/1.1\r\n\r\n", "HTTP/1.1"),
        (
            "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            "HTTP/1.1",
        ),
        (
            "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, HTTP2-Settings\r\n\
             upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
            "HTTP/1.1",
        ),
        (
            "GET /readyz HTTP/1.1\r\nhost: localhost\r\nif-none-match: *\r\nrange: bytes=0-1\r\n\
             accept: image/png\r\naccept-encoding: gzip\r\n\r\n",
            "HTTP/1.1",
        ),
    ] {
        let answer = raw(address, request).await;
        assert_eq!((answer.code, &*answer.version), (200, version), "{request}");
        assert_eq!(answer.body, r#"{"status":"up"}"#);
    }
    let mut wire = Wire::connect(address).await;
    wire.send("GET /readyz HTTP/1.0\r\n\r\n").await;
    assert_eq!(wire.answer().await.code, 200);
    assert!(wire.ends().await, "HTTP/1.0 does not keep the connection");
}

#[tokio::test]
async fn a_body_sent_to_a_probe_is_not_waited_for() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    for (method, code) in [("POST", 405), ("GET", 200)] {
        let mut wire = Wire::connect(address).await;
        wire.send(format!(
            "{method} /readyz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n"
        ))
        .await;
        wire.send([b'x'; 65_536]).await;
        // The rest is never sent.
        assert_eq!(wire.answer().await.code, code);
        assert!(wire.ends().await, "{method}: nothing else can follow");
    }
    for body in [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut wire = Wire::connect(address).await;
        wire.send(format!(
            "POST /readyz HTTP/1.1\r\nhost: localhost\r\n{body}"
        ))
        .await;
        assert_eq!(wire.answer().await.code, 405);
        assert_eq!(wire.get("/").await.body, "index", "a small one is skipped");
    }
    let mut wire = Wire::connect(address).await;
    wire.send(
        "POST /readyz HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.code, 405, "and no 100 before it");
}

#[tokio::test]
async fn an_unauthorized_caller_cannot_tell_which_names_exist() {
    let address = serve_noting_peers(app().layer(HealthLayer::new(broken()))).await;
    let mut wire = Wire::connect(address).await;
    let unknown = wire.get("/health/unknown").await;
    assert_eq!((unknown.code, &*unknown.body), (404, ""));
    for path in DEFAULT_PATHS {
        for name in ["database", "Database", "data%62ase", "%ff", "%"] {
            assert_eq!(wire.get(&format!("{path}/{name}")).await, unknown);
        }
    }
}

#[tokio::test]
async fn without_connect_info_nobody_is_local() {
    let layer = HealthLayer::new(health()).details(Access::loopback());
    let address = serve(app().layer(layer)).await;
    let answer = wire::get(address, "/health").await;
    assert_eq!(answer.body, r#"{"status":"up"}"#);
    assert_eq!(wire::get(address, "/health/database").await.code, 404);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_local_peer_sees_details_unless_a_proxy_speaks() {
    let layer = HealthLayer::new(degraded()).details(Access::loopback());
    let address = serve_noting_peers(app().layer(layer)).await;
    let full = wire::get(address, "/health").await;
    for part in [r#""database":{"status":"up""#, r#""reason":"refused""#] {
        assert!(full.body.contains(part), "{}", full.body);
    }
    for header in ["forwarded", "x-forwarded-for", "X-Real-IP", "via"] {
        for path in ["/health", "/health/database"] {
            let answer = raw(
                address,
                &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}: 127.0.0.1\r\n\r\n"),
            )
            .await;
            let expected = match path {
                "/health" => (200, r#"{"status":"degraded"}"#),
                _ => (404, ""),
            };
            assert_eq!((answer.code, &*answer.body), expected, "{header} {path}");
        }
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn one_dependency_is_answered_for_below_every_probe() {
    let layer = HealthLayer::new(degraded())
        .path("/internal", Probe::Full)
        .details(Access::loopback());
    let address = serve_noting_peers(app().layer(layer)).await;
    for path in ["/health", "/readyz", "/internal"] {
        let up = wire::get(address, &format!("{path}/database")).await;
        assert_eq!(up.code, 200);
        assert!(up.body.starts_with(r#"{"status":"up","#), "{}", up.body);
        let down = wire::get(address, &format!("{path}/cache")).await;
        assert_eq!(down.code, 503, "optional or not: this one is down");
        assert!(
            down.body.starts_with(r#"{"status":"down","#),
            "{}",
            down.body
        );
        assert_eq!(down.header("retry-after"), Some("1"));
        assert_eq!(
            wire::get(address, &format!("{path}/unknown")).await.code,
            404
        );
        let encoded = wire::get(address, &format!("{path}/data%62ase")).await;
        assert_eq!(encoded.code, 200);
    }
}

#[tokio::test]
async fn overlapping_paths_do_not_depend_on_their_order() {
    let paths = ["/status", "/status/detail"];
    for order in [[0, 1], [1, 0]] {
        let mut layer = HealthLayer::new(broken())
            .without_default_paths()
            .details(Access::everybody());
        for index in order {
            let probe = [Probe::Liveness, Probe::Full][index].clone();
            layer = layer.path(paths[index], probe);
        }
        let address = serve(app().layer(layer)).await;
        assert_eq!(wire::get(address, "/status").await.code, 200);
        assert_eq!(wire::get(address, "/status/detail").await.code, 503);
        for path in ["/status/x", "/status/database"] {
            assert!(!is_probe(&wire::get(address, path).await), "{path}");
        }
        assert!(is_probe(
            &wire::get(address, "/status/detail/database").await
        ));
        assert!(!is_probe(&wire::get(address, "/readyz").await));
    }
}

#[tokio::test]
async fn who_may_not_probe_is_refused_without_a_word() {
    let layer = HealthLayer::new(health()).allow(Access::bearer(["token"]));
    let address = serve(app().layer(layer)).await;
    let mut wire = Wire::connect(address).await;
    for request in [
        "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer nekot\r\n\r\n",
    ] {
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!((answer.code, &*answer.body), (403, ""), "{request}");
        assert!(is_probe(&answer));
    }
    wire.send("GET /readyz HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer token\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.code, 200);
    assert_eq!(wire.get("/").await.body, "index");
}

#[tokio::test]
async fn a_concealed_probe_is_the_apps_own_404_to_an_unauthorized_caller() {
    let layer = HealthLayer::new(health())
        .allow(Access::nobody())
        .forward_denied();
    let address = serve(app().layer(layer)).await;
    let mut wire = Wire::connect(address).await;
    let unknown = wire.get("/unknown").await;
    assert_eq!(unknown.code, 404);
    for path in ["/livez", "/readyz", "/health", "/health/database"] {
        assert_eq!(wire.get(path).await, unknown);
    }
    wire.send("POST /readyz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await, unknown);
}

#[tokio::test]
async fn each_status_has_the_code_it_was_given() {
    let layer = |health| {
        HealthLayer::new(health)
            .status_code(Status::Down, StatusCode::INTERNAL_SERVER_ERROR)
            .status_code(Status::Degraded, StatusCode::MULTI_STATUS)
    };
    for (health, code) in [(health(), 200), (degraded(), 207), (broken(), 500)] {
        let address = serve(app().layer(layer(health))).await;
        let answer = wire::get(address, "/health").await;
        assert_eq!(answer.code, code);
        assert_eq!(answer.header("retry-after"), None, "that is for 503");
    }
}

#[tokio::test]
async fn draining_takes_out_of_traffic_and_lets_live() {
    let health = health();
    let address = serve(app().layer(HealthLayer::new(health.clone()))).await;
    let mut wire = Wire::connect(address).await;
    assert_eq!(wire.get("/readyz").await.code, 200);
    health.set_draining(true);
    let answer = wire.get("/readyz").await;
    assert_eq!((answer.code, &*answer.body), (503, r#"{"status":"down"}"#));
    for path in ["/livez", "/startupz", "/health", "/"] {
        assert_eq!(wire.get(path).await.code, 200, "{path}");
    }
    health.set_draining(false);
    assert_eq!(wire.get("/readyz").await.code, 200);
}

#[tokio::test]
async fn a_client_of_hypers_is_answered_on_one_connection() {
    let address = serve(app().layer(HealthLayer::new(health()))).await;
    let mut client = wire::http1(address).await;
    for path in ["/readyz", "/", "/health", "/unknown"] {
        let request = Request::builder()
            .uri(path)
            .header("host", "localhost")
            .body(Full::default())
            .expect("valid");
        let response = soon(async {
            client.ready().await?;
            client.send_request(request).await
        })
        .await
        .expect("answered");
        let code = if path == "/unknown" { 404 } else { 200 };
        assert_eq!(response.status(), code, "{path}");
        response.collect().await.expect("a body");
    }
}
