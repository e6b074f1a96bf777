//! Layers of tower-http outside and inside ours: both work for the app; only an outer one sees probes.

use std::{convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
use tower_health::{Access, Health, HealthLayer};
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

use super::server::up;
use crate::helpers::gate::Gate;

type Stack = BoxCloneService<Request<Full<Bytes>>, Received, BoxError>;

/// A complete response.
#[derive(Debug)]
struct Received {
    code: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_probe(&self) -> bool {
        self.header("cache-control") == Some("no-store")
    }

    fn is_compressed(&self) -> bool {
        let encoded = self.header("content-encoding") == Some("gzip");
        assert_eq!(encoded, self.body.starts_with(&[0x1f, 0x8b]), "{self:?}");
        encoded
    }
}

/// The stacks with `$layer` outside ours, and inside it.
macro_rules! both_sides {
    ($layer:expr) => {{
        let probes = HealthLayer::new(up()).details(Access::everybody());
        // The response of a layer has another type on each side.
        let outside = ServiceBuilder::new().layer($layer).layer(probes.clone());
        let inside = ServiceBuilder::new().layer(probes).layer($layer);
        (
            erased(outside.service(service_fn(app))),
            erased(inside.service(service_fn(app))),
        )
    }};
}

async fn app(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/panic" => panic!("a bug of the app"),
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
            Ok(Received {
                code: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.map_err(Into::into)?.to_bytes(),
            })
        })
        .boxed_clone()
}

async fn send(stack: &Stack, method: Method, path: &str, accept: [&str; 2]) -> Received {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("accept", accept[0]);
    let request = request.header("accept-encoding", accept[1]);
    let request = request.body(Full::default()).expect("valid");
    stack.clone().oneshot(request).await.expect("answers")
}

async fn get(stack: &Stack, path: &str) -> Received {
    send(stack, Method::GET, path, ["*/*", "identity"]).await
}

#[tokio::test]
async fn usual_layers_together_work_on_either_side() {
    let ids = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id());
    let limit = Duration::from_secs(30);
    let all = ids
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            limit,
        ))
        .layer(CatchPanicLayer::new())
        .into_inner();
    let (outside, inside) = both_sides!(all.clone());
    for (stack, is_outside) in [(&outside, true), (&inside, false)] {
        for path in [
            "/livez",
            "/readyz",
            "/startupz",
            "/health",
            "/health/database",
        ] {
            let probe = get(stack, path).await;
            assert!(probe.code == 200 && probe.is_probe(), "{path}: {probe:?}");
            assert!(
                probe.body.starts_with(br#"{"status":"up""#),
                "{path}: {probe:?}"
            );
            assert_eq!(probe.header("x-request-id").is_some(), is_outside, "{path}");
        }
        // A preflight of CORS inside ours would be a method that is not allowed.
        let preflight = send(stack, Method::OPTIONS, "/readyz", ["*/*"; 2]).await;
        assert_eq!(preflight.code, if is_outside { 200 } else { 405 });
        assert_eq!(get(stack, "/panic").await.code, 500);
        let index = get(stack, "/").await;
        assert_eq!(&index.body[..5], b"index");
        assert!(index.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn compression_outside_compresses_details_too() {
    let (outside, inside) = both_sides!(CompressionLayer::new());
    for (stack, is_outside) in [(&outside, true), (&inside, false)] {
        assert!(
            send(stack, Method::GET, "/", ["*/*", "gzip"])
                .await
                .is_compressed()
        );
        let details = send(stack, Method::GET, "/health", ["*/*", "gzip"]).await;
        assert!(details.is_probe());
        assert_eq!(details.is_compressed(), is_outside);
        assert!(!get(stack, "/health").await.is_compressed());
        let head = send(stack, Method::HEAD, "/health", ["*/*", "gzip"]).await;
        assert!(head.is_probe() && head.body.is_empty());
    }
}

#[tokio::test]
async fn only_an_outer_layer_rejects_or_rewrites_probes() {
    // A rule for all requests, as of a token.
    let (outside, inside) = both_sides!(ValidateRequestHeaderLayer::accept("text/plain"));
    for (stack, code) in [(&outside, 406), (&inside, 200)] {
        for (path, code) in [("/readyz", code), ("/", 406)] {
            let accept = ["application/json", "identity"];
            let answer = send(stack, Method::GET, path, accept).await;
            assert_eq!(answer.code, code, "{path}");
        }
    }
    let (outside, inside) = both_sides!(NormalizePathLayer::trim_trailing_slash());
    assert!(get(&outside, "/readyz/").await.is_probe());
    assert!(!get(&inside, "/readyz/").await.is_probe());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_ends_a_slow_probe_but_not_its_run() {
    let limit = Duration::from_millis(100);
    let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit);
    let gate = Gate::new();
    let health = Health::builder().check("database", gate.check()).build();
    let layer = HealthLayer::new(health);
    let outside = ServiceBuilder::new().layer(timeout).layer(layer.clone());
    let outside = erased(outside.service(service_fn(app)));
    assert_eq!(get(&outside, "/readyz").await.code, 504);
    gate.pass.add_permits(1);
    let inside = ServiceBuilder::new().layer(layer).layer(timeout);
    let inside = erased(inside.service(service_fn(app)));
    // The next caller gets the result of the run that the first one started.
    assert_eq!(get(&inside, "/readyz").await.code, 200);
    assert_eq!(gate.runs(), 1);
    for stack in [&outside, &inside] {
        assert_eq!(get(stack, "/slow").await.code, 504);
    }
}
