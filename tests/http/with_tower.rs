//! The layer in a tower stack: readiness, errors, and the order of layers.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_health::{
    Access, Dependency, Health, HealthLayer, Outcome, Probe, service::mode::KeepBody,
};
use tower_test::mock;

/// Set where a busy machine must not turn a slow run into a verdict.
const PATIENT: Duration = Duration::from_secs(30);

type Reply = Response<Full<Bytes>>;

fn layer() -> HealthLayer {
    HealthLayer::new(
        Health::builder()
            .check("database", async || Ok(Outcome::up()))
            .build(),
    )
}

/// A request without a body type of its own: the layer asks for none.
fn request(path: &str) -> Request<()> {
    Request::builder().uri(path).body(()).expect("valid")
}

#[derive(Debug, PartialEq)]
struct OwnError(u32);

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (mut service, mut handle) = mock::spawn_layer::<Request<()>, Reply, _>(layer());
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(
        service.is_woken(),
        "the inner service's waker is the caller's"
    );
    assert!(service.poll_ready().is_ready());

    handle.send_error("broken");
    assert!(
        matches!(service.poll_ready(), Poll::Ready(Err(error)) if error.to_string() == "broken")
    );
}

#[tokio::test]
async fn readiness_is_the_inner_services_with_the_same_body() {
    let (mut service, mut handle) =
        mock::spawn_layer::<Request<()>, Response<Vec<u8>>, HealthLayer<KeepBody>>(
            layer().keep_body_type(),
        );
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
}

#[tokio::test]
async fn a_probe_never_reaches_the_inner_service() {
    let (service, mut handle) = mock::pair::<Request<()>, Reply>();
    handle.allow(10);
    let service = layer().layer(service);
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        let response = service
            .clone()
            .oneshot(request(path))
            .await
            .expect("answers");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    drop(service);
    assert!(handle.next_request().await.is_none(), "nobody called");
}

#[tokio::test]
async fn other_requests_reach_the_inner_service_and_its_response_returns() {
    let (service, mut handle) = mock::pair::<Request<()>, Reply>();
    let response = tokio::spawn(layer().layer(service).oneshot(request("/users")));
    let (seen, reply) = handle.next_request().await.expect("called");
    assert_eq!(seen.uri(), "/users");
    reply.send_response(Response::new(Full::from("users")));
    let response = response.await.expect("no panic").expect("no error");
    let body = response.collect().await.expect("a body").to_bytes();
    assert_eq!(body, "users");
}

#[tokio::test]
async fn an_error_stays_the_inner_services() {
    let inner = service_fn(async |_: Request<()>| Err::<Reply, _>(OwnError(7)));
    let error: OwnError = layer()
        .layer(inner)
        .oneshot(request("/users"))
        .await
        .expect_err("fails");
    assert_eq!(error, OwnError(7));
    let probe: Result<_, OwnError> = layer().layer(inner).oneshot(request("/readyz")).await;
    assert_eq!(probe.expect("answered").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_service_without_clone_or_send_is_wrapped_all_the_same() {
    let not_send = Rc::new(());
    let mut service = layer().layer(service_fn(move |_: Request<Rc<()>>| {
        let _held = &not_send;
        async { Ok::<_, Infallible>(Reply::default()) }
    }));
    let service = ServiceExt::<Request<Rc<()>>>::ready(&mut service)
        .await
        .expect("ready");
    let request = request("/readyz").map(Rc::new);
    let response = service.call(request).await.expect("answers");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn outermost_probes_are_spared_what_slows_or_refuses_the_app() {
    let slow = service_fn(async |_: Request<()>| {
        pending::<()>().await;
        Ok::<_, Infallible>(Reply::default())
    });
    let stack = ServiceBuilder::new()
        .layer(layer())
        .timeout(Duration::from_millis(1))
        .service(slow);
    let late = stack.clone().oneshot(request("/users")).await;
    assert!(
        late.expect_err("late")
            .is::<tower::timeout::error::Elapsed>()
    );
    let probe = stack.oneshot(request("/readyz")).await.expect("answered");
    assert_eq!(probe.status(), StatusCode::OK);
}

#[tokio::test]
async fn inside_a_stack_the_other_layers_see_the_answer() {
    let stack = ServiceBuilder::new()
        .map_response(|mut response: Response<_>| {
            response
                .headers_mut()
                .insert("x-outer", "seen".parse().expect("valid"));
            response
        })
        .layer(layer())
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Reply::default())
        }));
    for path in ["/readyz", "/users"] {
        let response = stack.clone().oneshot(request(path)).await.expect("answers");
        assert_eq!(response.headers()["x-outer"], "seen", "{path}");
    }
}

#[tokio::test]
async fn a_boxed_stack_and_a_buffer_take_the_layer() {
    let stack = ServiceBuilder::new()
        .buffer(8)
        .concurrency_limit(4)
        .layer(layer())
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Reply::default())
        }));
    let boxed = stack.boxed_clone();
    let response = boxed.oneshot(request("/readyz")).await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn two_layers_of_one_handle_stack() {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let internal = HealthLayer::new(health.clone())
        .without_default_paths()
        .path("/internal/health", Probe::Full)
        .details(Access::everybody());
    let stack = ServiceBuilder::new()
        .layer(HealthLayer::new(health))
        .layer(internal)
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Reply::default())
        }));
    for (path, has_details) in [("/health", false), ("/internal/health", true)] {
        let response = stack.clone().oneshot(request(path)).await.expect("answers");
        let body = response.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(text.contains("database"), has_details, "{path}: {text}");
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_drops_the_inner_call() {
    let (service, mut handle) = mock::pair::<Request<()>, Reply>();
    let call = tokio::spawn(layer().layer(service).oneshot(request("/users")));
    let (_, reply) = handle.next_request().await.expect("called");
    call.abort();
    let _ = call.await;
    // The mock notices that nobody waits for the response any more.
    reply.send_response(Reply::default());
    assert!(handle.next_request().await.is_none());
}

#[tokio::test]
async fn a_prober_that_hangs_up_cancels_no_run() {
    let runs = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(Notify::new());
    let check = {
        let (runs, open) = (runs.clone(), open.clone());
        move || {
            runs.fetch_add(1, Ordering::SeqCst);
            let open = open.clone();
            async move {
                open.notified().await;
                Ok(Outcome::up())
            }
        }
    };
    let health = Health::builder()
        .add(Dependency::new("database", check).timeout(PATIENT))
        .answer_within(PATIENT)
        .build();
    let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Reply::default()));
    let service = HealthLayer::new(health).layer(inner);
    for _ in 0..20 {
        let mut probe = pin!(service.clone().oneshot(request("/readyz")));
        assert!(
            poll_fn(|cx| Poll::Ready(probe.as_mut().poll(cx)))
                .await
                .is_pending()
        );
        tokio::task::yield_now().await;
    }
    open.notify_one();
    let response = service.oneshot(request("/readyz")).await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
