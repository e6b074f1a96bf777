//! Layers further out tell probes from traffic, by a mark on the response or by the request's path.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_health::{
    Access, Health, HealthLayer, Outcome,
    service::{AnnounceDrainLayer, BusyService, ProbeMark, ResponseBody},
};
use tower_http::trace::TraceLayer;

type Inner = Response<Full<Bytes>>;
type Answer = Response<ResponseBody<Full<Bytes>>>;

async fn inner(_: Request<Empty<Bytes>>) -> Result<Inner, Infallible> {
    Ok(Response::default())
}

fn health() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build()
}

fn request(method: Method, target: &str) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri(target);
    request.body(Empty::new()).expect("valid")
}

/// The code, and whether the response is marked.
async fn asked<S, B>(service: S, method: Method, target: &str) -> (StatusCode, bool)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let Ok(response) = service.oneshot(request(method, target)).await;
    let mark = response.extensions().get::<ProbeMark>();
    (response.status(), mark.is_some())
}

#[tokio::test]
async fn answers_and_refusals_are_marked_and_traffic_is_not() {
    let layer = HealthLayer::new(health()).mark_probes();
    let service = layer.layer(service_fn(inner));
    let ok = StatusCode::OK;
    for (method, target, expected) in [
        // First what waits for a run, then what is kept.
        (Method::GET, "/readyz", (ok, true)),
        (Method::GET, "/readyz", (ok, true)),
        (Method::HEAD, "/health", (ok, true)),
        (
            Method::POST,
            "/livez",
            (StatusCode::METHOD_NOT_ALLOWED, true),
        ),
        (Method::GET, "/health/nothing", (ok, false)),
        (Method::GET, "/", (ok, false)),
        (Method::GET, "/readyz/", (ok, false)),
    ] {
        let seen = asked(service.clone(), method.clone(), target).await;
        assert_eq!(seen, expected, "{method} {target}");
    }
}

#[tokio::test]
async fn every_kind_of_layer_marks() {
    let layer = || HealthLayer::new(health()).mark_probes();
    let probes = [
        asked(
            layer().keep_body_type().layer(service_fn(inner)),
            Method::GET,
            "/readyz",
        )
        .await,
        asked(
            layer().layer(BusyService::new(service_fn(inner))),
            Method::GET,
            "/readyz",
        )
        .await,
        asked(
            layer().layer(AnnounceDrainLayer::new(health()).layer(service_fn(inner))),
            Method::GET,
            "/readyz",
        )
        .await,
    ];
    assert_eq!(probes, [(StatusCode::OK, true); 3]);
    let keep_body_type = layer().keep_body_type().layer(service_fn(inner));
    assert_eq!(
        asked(keep_body_type, Method::GET, "/").await,
        (StatusCode::OK, false)
    );
    let busy = layer().layer(BusyService::new(service_fn(inner)));
    assert_eq!(asked(busy, Method::GET, "/").await, (StatusCode::OK, false));
}

#[tokio::test]
async fn unasked_nothing_is_marked_and_the_concealed_is_traffic() {
    let plain = HealthLayer::new(health()).layer(service_fn(inner));
    assert_eq!(
        asked(plain, Method::GET, "/readyz").await,
        (StatusCode::OK, false)
    );
    let layer = HealthLayer::new(health())
        .mark_probes()
        .allow(Access::nobody());
    let refusing = layer.clone().layer(service_fn(inner));
    let seen = asked(refusing, Method::GET, "/readyz").await;
    assert_eq!(seen, (StatusCode::FORBIDDEN, true));
    let concealing = layer.forward_denied().layer(service_fn(inner));
    assert_eq!(
        asked(concealing, Method::GET, "/readyz").await,
        (StatusCode::OK, false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_gives_up_while_it_waits_leaves_nothing() {
    let health = Health::builder()
        .check("database", async || pending().await)
        .build();
    let service = HealthLayer::new(health)
        .mark_probes()
        .layer(service_fn(inner));
    let waiting = asked(service.clone(), Method::GET, "/readyz");
    let gave_up = tokio::time::timeout(Duration::from_millis(10), waiting).await;
    assert!(gave_up.is_err());
    let seen = asked(service, Method::GET, "/readyz").await;
    assert_eq!(seen, (StatusCode::SERVICE_UNAVAILABLE, true));
}

#[test]
fn a_path_is_known_before_there_is_an_answer() {
    let layer = HealthLayer::new(health());
    let table = [
        ("/readyz", true),
        ("/readyz?verbose", true),
        ("http://host/livez", true),
        // Not every caller may know of it, and the app may have a route there.
        ("/health/database", false),
        ("/", false),
        ("/readyz/", false),
        ("/READYZ", false),
        ("*", false),
    ];
    for (uri, expected) in table {
        assert_eq!(
            layer.is_probe(&uri.parse().expect("a URI")),
            expected,
            "{uri}"
        );
    }
    let method = |name: &str| {
        format!("/grpc.health.v1.Health/{name}")
            .parse()
            .expect("a URI")
    };
    for name in ["Check", "Watch", "List"] {
        assert!(!layer.is_probe(&method(name)), "{name}");
        #[cfg(feature = "grpc")]
        assert!(layer.clone().grpc().is_probe(&method(name)), "{name}");
    }
    #[cfg(feature = "grpc")]
    for uri in [
        "/grpc.health.v1.Health",
        "/grpc.health.v1.Health/",
        "/grpc.health.v1.Health/Check/x",
    ] {
        assert!(
            !layer.clone().grpc().is_probe(&uri.parse().expect("a URI")),
            "{uri}"
        );
    }
    let layer = layer.without_default_paths();
    assert!(!layer.is_probe(&"/readyz".parse().expect("a URI")));
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn a_grpc_call_that_is_answered_is_marked() {
    type Call = Request<Full<Bytes>>;
    let service = HealthLayer::new(health())
        .mark_probes()
        .grpc()
        .layer(service_fn(async |_: Call| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    let call = |method: &str| {
        Request::post(format!("/grpc.health.v1.Health/{method}"))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            // One message without a field: the service is the server itself.
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .expect("valid")
    };
    for method in ["Check", "Watch", "List"] {
        let Ok(response) = service.clone().oneshot(call(method)).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/grpc",
            "{method}"
        );
        assert!(
            response.extensions().get::<ProbeMark>().is_some(),
            "{method}"
        );
    }
}

#[tokio::test]
async fn an_access_log_of_tower_http_leaves_probes_out() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (requests, responses) = (log.clone(), log.clone());
    let layer = HealthLayer::new(health()).mark_probes();
    let probes = layer.clone();
    let service = tower::ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .on_request(move |request: &Request<Empty<Bytes>>, _: &tracing::Span| {
                    if !probes.is_probe(request.uri()) {
                        let line = format!("asked {}", request.uri());
                        requests.lock().expect("no panic under it").push(line);
                    }
                })
                .on_response(move |response: &Answer, _: Duration, _: &tracing::Span| {
                    if response.extensions().get::<ProbeMark>().is_none() {
                        let line = format!("answered {}", response.status());
                        responses.lock().expect("no panic under it").push(line);
                    }
                }),
        )
        .layer(layer)
        .service(service_fn(inner));
    for target in ["/readyz", "/shop", "/readyz", "/livez"] {
        let ready = service.clone().oneshot(request(Method::GET, target));
        assert_eq!(ready.await.expect("infallible").status(), StatusCode::OK);
    }
    let log = log.lock().expect("no panic under it");
    assert_eq!(*log, ["asked /shop", "answered 200 OK"]);
}
