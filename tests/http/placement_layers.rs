//! Layers of tower-http outside and inside ours: both work for the app; only an outer one sees probes.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
use tower_health::{Access, HealthLayer};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    normalize_path::NormalizePathLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::helpers::{server::up, wire::Answer};

type Stack = BoxCloneService<Request<Full<Bytes>>, Answer, BoxError>;

/// The stacks with `$layer` outside ours, and inside it: its response has another type on each side.
macro_rules! both_sides {
    ($layer:expr) => {{
        let probes = HealthLayer::new(up()).details(Access::everybody());
        let outside = ServiceBuilder::new().layer($layer).layer(probes.clone());
        let inside = ServiceBuilder::new().layer(probes).layer($layer);
        [
            (erased(outside.service(service_fn(app))), true),
            (erased(inside.service(service_fn(app))), false),
        ]
    }};
}

async fn app(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/panic" => panic!("a bug of the app"),
        _ => Ok(Response::new(Full::from("index ".repeat(100)))),
    }
}

fn erased<S, B>(stack: S) -> Stack
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data: Send, Error: std::fmt::Debug> + Send + 'static,
{
    let answered = async |response| Ok(Answer::of(response).await);
    stack.map_err(Into::into).and_then(answered).boxed_clone()
}

async fn send(stack: &Stack, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("accept-encoding", "gzip");
    let request = request.body(Full::default()).expect("valid");
    stack.clone().oneshot(request).await.expect("answers")
}

#[tokio::test]
async fn usual_layers_work_on_either_side() {
    let limit = Duration::from_secs(30);
    let all = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            limit,
        ))
        .layer(CatchPanicLayer::new())
        .into_inner();
    for (stack, is_outside) in both_sides!(all.clone()) {
        for path in ["/livez", "/readyz", "/health", "/health/database"] {
            let probe = send(&stack, "GET", path).await;
            assert!(probe.code == 200 && probe.is_probe(), "{path}: {probe:?}");
            assert_eq!(probe.header("x-request-id").is_some(), is_outside, "{path}");
            let is_compressed = probe.header("content-encoding") == Some("gzip");
            let is_large = path.starts_with("/health");
            assert!(!is_large || is_compressed == is_outside, "{probe:?}");
        }
        let head = send(&stack, "HEAD", "/health").await;
        assert!(head.is_probe() && head.body.is_empty());
        // A preflight of CORS inside ours would be a method that is not allowed.
        let preflight = send(&stack, "OPTIONS", "/readyz").await;
        assert_eq!(preflight.code, if is_outside { 200 } else { 405 });
        assert_eq!(send(&stack, "GET", "/panic").await.code, 500);
        let index = send(&stack, "GET", "/").await;
        assert_eq!(index.header("content-encoding"), Some("gzip"));
        assert!(index.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn only_an_outer_layer_rewrites_paths_to_probes() {
    for (stack, is_outside) in both_sides!(NormalizePathLayer::trim_trailing_slash()) {
        let answer = send(&stack, "GET", "/readyz/").await;
        assert_eq!(answer.is_probe(), is_outside);
    }
}
