//! tower-http's layers on both sides of ours: each does its work for the app, and what it does to a
//! probe depends on the side.

use std::{convert::Infallible, error::Error, future::pending, time::Duration};

use crate::helpers::gate::Gate;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
use tower_health::{Access, Health, HealthLayer, Outcome};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    normalize_path::NormalizePathLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};

type Reply = Response<Full<Bytes>>;
type Stack = BoxCloneService<Request<Full<Bytes>>, Seen, BoxError>;

/// A response that was received whole.
#[derive(Debug)]
struct Seen {
    code: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// The stacks with `$layer` around ours, and inside it.
macro_rules! both_sides {
    ($layer:expr) => {{
        // Twice: the response that a layer may make has another type on each side.
        let around = ServiceBuilder::new().layer($layer).layer(probes());
        let inside = ServiceBuilder::new().layer(probes()).layer($layer);
        (
            erased(around.service(service_fn(app))),
            erased(inside.service(service_fn(app))),
        )
    }};
}

fn probes() -> HealthLayer {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    HealthLayer::new(health).details(Access::everybody())
}

async fn app(request: Request<Full<Bytes>>) -> Result<Reply, Infallible> {
    match request.uri().path() {
        "/panic" => panic!("a bug of the app's"),
        "/slow" => pending().await,
        _ => Ok(Response::new(Full::from("index ".repeat(100)))),
    }
}

fn erased<S, B>(stack: S) -> Stack
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    stack
        .map_err(Into::into)
        .and_then(async |response: Response<B>| {
            let (head, body) = response.into_parts();
            Ok(Seen {
                code: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.map_err(Into::into)?.to_bytes(),
            })
        })
        .boxed_clone()
}

async fn ask(stack: &Stack, method: Method, path: &str, headers: &[(&str, &str)]) -> Seen {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::default()).expect("valid");
    stack.clone().oneshot(request).await.expect("answers")
}

async fn get(stack: &Stack, path: &str) -> Seen {
    ask(stack, Method::GET, path, &[]).await
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_probe(&self) -> bool {
        self.header("cache-control") == Some("no-store")
    }
}

// The feature brings the crate that names a span.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_trace_sees_probes_from_outside_only() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    let counting = || {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let layer = TraceLayer::new_for_http().on_request(
            move |_: &Request<Full<Bytes>>, _: &tracing::Span| {
                counter.fetch_add(1, Ordering::Relaxed);
            },
        );
        (count, layer)
    };
    let (count, layer) = counting();
    let (around, _) = both_sides!(layer.clone());
    assert!(get(&around, "/readyz").await.is_probe());
    assert!(!get(&around, "/").await.is_probe());
    assert_eq!(count.load(Ordering::Relaxed), 2);

    let (count, layer) = counting();
    let (_, inside) = both_sides!(layer.clone());
    assert!(get(&inside, "/readyz").await.is_probe());
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert!(!get(&inside, "/").await.is_probe());
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn compression_around_squeezes_detailed_answers_and_inside_the_apps_alone() {
    let (around, inside) = both_sides!(CompressionLayer::new());
    let gzip = [("accept-encoding", "gzip")];
    let squeezed = |seen: &Seen| {
        let says = seen.header("content-encoding") == Some("gzip");
        assert_eq!(says, seen.body.starts_with(&[0x1f, 0x8b]), "{seen:?}");
        says
    };
    for (stack, probe_is_squeezed) in [(&around, true), (&inside, false)] {
        assert!(squeezed(&ask(stack, Method::GET, "/", &gzip).await));
        let seen = ask(stack, Method::GET, "/health", &gzip).await;
        assert_eq!(squeezed(&seen), probe_is_squeezed);
        assert!(seen.is_probe());
        assert!(
            !squeezed(&get(stack, "/health").await),
            "nobody asked for it"
        );
        // An answer to a head has no body that a length could contradict.
        let seen = ask(stack, Method::HEAD, "/health", &gzip).await;
        assert!(seen.body.is_empty() && seen.is_probe());
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_cuts_a_slow_probe_short_and_not_its_run() {
    let limit = Duration::from_millis(100);
    let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit);
    let gate = Gate::new();
    let health = Health::builder().check("database", gate.check()).build();
    let layer = HealthLayer::new(health);
    let around = ServiceBuilder::new().layer(timeout).layer(layer.clone());
    let around = erased(around.service(service_fn(app)));
    assert_eq!(get(&around, "/readyz").await.code, 504);
    gate.pass.add_permits(1);
    let inside = ServiceBuilder::new().layer(layer).layer(timeout);
    let inside = erased(inside.service(service_fn(app)));
    // The run that the first caller started, or a caller would wait here until the check's own end.
    assert_eq!(get(&inside, "/readyz").await.code, 200);
    assert_eq!(gate.runs(), 1);
    for stack in [&around, &inside] {
        assert_eq!(get(stack, "/slow").await.code, 504);
    }
}

#[tokio::test]
async fn cors_around_answers_preflights_of_probes_and_inside_they_are_no_get() {
    let (around, inside) = both_sides!(CorsLayer::permissive());
    let origin = ("origin", "https://status.example");
    let preflight = [origin, ("access-control-request-method", "GET")];
    let allowed = |seen: &Seen| seen.header("access-control-allow-origin").is_some();
    for (stack, probe_allowed, code) in [(&around, true, 200), (&inside, false, 405)] {
        let seen = ask(stack, Method::OPTIONS, "/readyz", &preflight).await;
        assert_eq!((seen.code, allowed(&seen)), (code, probe_allowed));
        let seen = ask(stack, Method::GET, "/readyz", &[origin]).await;
        assert_eq!((seen.code, allowed(&seen)), (200, probe_allowed));
        let seen = ask(stack, Method::OPTIONS, "/", &preflight).await;
        assert_eq!((seen.code, allowed(&seen)), (200, true));
    }
}

#[tokio::test]
async fn a_caught_panic_is_the_apps_on_either_side_and_a_checks_never_gets_there() {
    let (around, inside) = both_sides!(CatchPanicLayer::new());
    for stack in [&around, &inside] {
        assert_eq!(get(stack, "/panic").await.code, 500);
        assert_eq!(get(stack, "/readyz").await.code, 200);
    }
    let health = Health::builder()
        .check("database", async || panic!("a bug of the check's"))
        .build();
    let bare = ServiceBuilder::new().layer(HealthLayer::new(health));
    let bare = erased(bare.service(service_fn(app)));
    assert_eq!(get(&bare, "/readyz").await.code, 503);
}

#[tokio::test]
async fn a_panic_in_the_apps_access_rule_refuses_the_caller_and_reaches_nobody() {
    let rule = Access::predicate(|_| panic!("a bug"));
    let layer = HealthLayer::new(Health::builder().build()).allow(rule);
    let bare = erased(ServiceBuilder::new().layer(layer).service(service_fn(app)));
    assert_eq!(get(&bare, "/readyz").await.code, 403);
    assert_eq!(get(&bare, "/").await.code, 200);
}

#[tokio::test]
async fn request_ids_reach_probes_from_outside_only() {
    // Two layers that belong together, in the order that tower-http asks for.
    let ids = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .into_inner();
    let (around, inside) = both_sides!(ids.clone());
    for (stack, probe_has_one) in [(&around, true), (&inside, false)] {
        for (path, has_one) in [("/readyz", probe_has_one), ("/", true)] {
            let made = get(stack, path).await;
            assert_eq!(made.header("x-request-id").is_some(), has_one, "{path}");
            let given = ask(stack, Method::GET, path, &[("x-request-id", "own")]).await;
            let expected = has_one.then_some("own");
            assert_eq!(given.header("x-request-id"), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn what_refuses_unauthorized_callers_refuses_probes_from_outside_only() {
    // A rule for all requests, such as a token's: here a header stands for it.
    let (around, inside) = both_sides!(ValidateRequestHeaderLayer::accept("text/plain"));
    let refused = [("accept", "application/json")];
    for (stack, code) in [(&around, 406), (&inside, 200)] {
        let seen = ask(stack, Method::GET, "/readyz", &refused).await;
        assert_eq!(seen.code, code);
        let seen = ask(stack, Method::GET, "/", &refused).await;
        assert_eq!(seen.code, 406);
    }
}

#[tokio::test]
async fn a_normaliser_of_paths_around_makes_more_paths_a_probes() {
    let (around, inside) = both_sides!(NormalizePathLayer::trim_trailing_slash());
    assert!(get(&around, "/readyz/").await.is_probe());
    assert!(!get(&inside, "/readyz/").await.is_probe());
    for stack in [&around, &inside] {
        assert!(get(stack, "/readyz").await.is_probe());
    }
}

/// As an app has them: all at once, on either side, and errors that are the timeout's own.
#[tokio::test]
async fn all_of_them_together_on_either_side_leave_probes_and_app_intact()
-> Result<(), Box<dyn Error>> {
    let all = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(30),
        ))
        .layer(CatchPanicLayer::new())
        .into_inner();
    let (around, inside) = both_sides!(all.clone());
    for stack in [&around, &inside] {
        for path in [
            "/livez",
            "/readyz",
            "/startupz",
            "/health",
            "/health/database",
        ] {
            let seen = get(stack, path).await;
            assert!(seen.code == 200 && seen.is_probe(), "{path}: {seen:?}");
            let body: serde_json::Value = serde_json::from_slice(&seen.body)?;
            assert_eq!(body["status"], "up", "{path}");
        }
        assert_eq!(get(stack, "/panic").await.code, 500);
        assert_eq!(&get(stack, "/").await.body[..5], b"index");
    }
    Ok(())
}
