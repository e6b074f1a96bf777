//! Limits of tower outside and inside the layer, while the app is full of requests that are stuck.
//!
//! Nothing here measures time: a probe must be answered while the stuck requests are still stuck.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::task::{JoinHandle, yield_now};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    layer::layer_fn,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
    load_shed::error::Overloaded,
    service_fn,
    util::BoxCloneService,
};
use tower_health::{
    HealthLayer,
    service::{BusyService, HealthService},
};

use super::server::up;
use crate::helpers::{stuck::Stuck, wire::soon};

/// So long that a limit of time never decides.
const HOUR: Duration = Duration::from_secs(3_600);

type Reply = Response<Full<Bytes>>;
type App = BoxCloneService<Request<()>, Reply, BoxError>;
type Stack = BoxCloneService<Request<()>, (), BoxError>;

/// An app whose requests are stuck.
fn app(stuck: &Stuck) -> App {
    let stuck = stuck.clone();
    service_fn(move |_: Request<()>| {
        let request = stuck.request();
        async {
            request.await;
            Ok(Reply::default())
        }
    })
    .boxed_clone()
}

fn plain() -> HealthLayer {
    HealthLayer::new(up())
}

/// Answers probes while the inner service is not ready.
fn busy<S>() -> impl Layer<S, Service = HealthService<BusyService<S>>> {
    layer_fn(|inner| plain().layer(BusyService::new(inner)))
}

fn erased<S, B>(stack: S) -> Stack
where
    S: Service<Request<()>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: 'static,
{
    stack
        .map_response(|response: Response<B>| assert_eq!(response.status(), StatusCode::OK))
        .map_err(Into::into)
        .boxed_clone()
}

fn request(path: &str) -> Request<()> {
    Request::get(path).body(()).expect("valid")
}

fn work(stack: &Stack) -> JoinHandle<Result<(), BoxError>> {
    tokio::spawn(stack.clone().oneshot(request("/work")))
}

async fn probe(stack: &Stack) -> Result<(), BoxError> {
    soon(stack.clone().oneshot(request("/readyz"))).await
}

async fn assert_served<T>(requests: impl IntoIterator<Item = JoinHandle<Result<T, BoxError>>>) {
    for request in requests {
        soon(request).await.expect("no panic").expect("served");
    }
}

/// Whether `future` still waits after every other task had its turn.
async fn waits(future: impl Future) -> bool {
    let mut future = pin!(future);
    for _ in 0..100 {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
            return false;
        }
        yield_now().await;
    }
    true
}

/// Two requests fill each limit. Further ones wait, and are served in the end.
#[tokio::test]
async fn busy_outermost_a_full_app_delays_no_probe() {
    type Stacked = fn(App) -> Stack;
    let table: [(&str, Stacked); 4] = [
        ("concurrency limit", |app| {
            let outer = ServiceBuilder::new().layer(busy());
            erased(outer.concurrency_limit(2).service(app))
        }),
        // A buffer of one, so that the third request finds it not ready.
        ("buffer and concurrency limit", |app| {
            let outer = ServiceBuilder::new().layer(busy()).buffer(1);
            erased(outer.concurrency_limit(2).service(app))
        }),
        ("buffer and rate limit", |app| {
            let outer = ServiceBuilder::new().layer(busy()).buffer(1);
            erased(outer.rate_limit(2, HOUR).service(app))
        }),
        ("a limit of the limit", |app| {
            let inner = busy().layer(ConcurrencyLimit::new(app, 2));
            erased(ConcurrencyLimit::new(inner, 100))
        }),
    ];
    for (case, stack) in table {
        let stuck = Stuck::new();
        let stack = stack(app(&stuck));
        let mut inside = [work(&stack), work(&stack)];
        stuck.holds(2).await;
        let mut outside: Vec<_> = (0..5).map(|_| work(&stack)).collect();
        for _ in 0..20 {
            probe(&stack).await.expect("answered");
        }
        for request in inside.iter_mut().chain(&mut outside) {
            assert!(waits(request).await, "{case}: the request is stuck");
        }
        stuck.release_all();
        assert_served(inside).await;
        // The rate limit admits no more, whatever the app does.
        if !case.contains("rate") {
            assert_served(outside).await;
        }
        probe(&stack).await.expect("answered");
    }
}

#[tokio::test]
async fn plain_outermost_a_probe_waits_for_the_limit() {
    let stuck = Stuck::new();
    let outer = ServiceBuilder::new().layer(plain());
    let stack = erased(outer.concurrency_limit(2).service(app(&stuck)));
    let inside = [work(&stack), work(&stack)];
    stuck.holds(2).await;
    assert!(waits(stack.clone().oneshot(request("/readyz"))).await);
    stuck.release_all();
    probe(&stack).await.expect("answered");
    assert_served(inside).await;
}

/// tower cannot give a reserved place back. Behind a buffer, a probe keeps one until the next request,
/// unless [`BusyService`] is between them.
#[tokio::test]
async fn behind_a_buffer_only_a_busy_layer_keeps_no_place() {
    for is_busy in [false, true] {
        let stuck = Stuck::new();
        let limited = GlobalConcurrencyLimitLayer::new(1).layer(app(&stuck));
        let buffered = ServiceBuilder::new().buffer(1);
        let stack = match is_busy {
            true => erased(buffered.layer(busy()).service(limited.clone())),
            false => erased(buffered.layer(plain()).service(limited.clone())),
        };
        for _ in 0..3 {
            probe(&stack).await.expect("answered");
        }
        let other = tokio::spawn(limited.oneshot(request("/work")));
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(stuck.held() == 1, is_busy);
        // The next request through the buffer uses the place and gives it back.
        let next = work(&stack);
        stuck.release_all();
        assert_served([next]).await;
        assert_served([other]).await;
    }
}

/// Servers call a clone for each request and drop it.
#[tokio::test]
async fn a_clone_that_answered_a_probe_keeps_no_place() {
    let stuck = Stuck::new();
    let limited = GlobalConcurrencyLimitLayer::new(1).layer(app(&stuck));
    let stack = erased(plain().layer(limited.clone()));
    for _ in 0..3 {
        probe(&stack).await.expect("answered");
    }
    let other = tokio::spawn(limited.oneshot(request("/work")));
    stuck.holds(1).await;
    stuck.release_all();
    assert_served([other]).await;
}

/// A load shed is always ready: a plain layer around it is enough.
#[tokio::test]
async fn around_a_load_shed_probes_are_answered_and_the_rest_shed() {
    let stuck = Stuck::new();
    let limited = || ServiceBuilder::new().load_shed().concurrency_limit(1);
    let stacks = [
        erased(
            ServiceBuilder::new()
                .layer(plain())
                .service(limited().service(app(&stuck))),
        ),
        erased(
            ServiceBuilder::new()
                .layer(busy())
                .service(limited().service(app(&stuck))),
        ),
    ];
    let inside = stacks.each_ref().map(work);
    stuck.holds(2).await;
    for stack in stacks.iter().cycle().take(10) {
        probe(stack).await.expect("answered");
        let error = work(stack).await.expect("no panic").expect_err("shed");
        assert!(error.is::<Overloaded>(), "{error}");
    }
    stuck.release_all();
    assert_served(inside).await;
}

/// The trap of `BusyService`: it is always ready, so a load shed outside it never sheds.
#[tokio::test]
async fn inside_a_load_shed_probes_are_shed_or_nothing_is() {
    let stuck = Stuck::new();
    let outer = ServiceBuilder::new().load_shed().layer(plain());
    let shedding = erased(outer.concurrency_limit(1).service(app(&stuck)));
    let inside = work(&shedding);
    stuck.holds(1).await;
    let error = probe(&shedding).await.expect_err("shed");
    assert!(error.is::<Overloaded>(), "{error}");

    let outer = ServiceBuilder::new().load_shed().layer(busy());
    let queueing = erased(outer.concurrency_limit(1).service(app(&stuck)));
    let first = work(&queueing);
    stuck.holds(1).await;
    probe(&queueing).await.expect("answered");
    let mut second = work(&queueing);
    assert!(waits(&mut second).await, "queued instead of shed");
    stuck.release_all();
    assert_served([inside, first, second]).await;
}

/// Inside a limit a probe is one more request, whatever the layer does.
#[tokio::test]
async fn inside_a_limit_a_probe_takes_a_place() {
    let stuck = Stuck::new();
    let limited = ServiceBuilder::new().concurrency_limit(1);
    let buffered = ServiceBuilder::new().buffer(1).concurrency_limit(1);
    for stack in [
        erased(limited.layer(busy()).service(app(&stuck))),
        erased(buffered.layer(busy()).service(app(&stuck))),
    ] {
        let inside = work(&stack);
        stuck.holds(1).await;
        assert!(waits(stack.clone().oneshot(request("/readyz"))).await);
        stuck.release(1);
        assert_served([inside]).await;
        probe(&stack).await.expect("answered");
    }
}

#[tokio::test]
async fn waiting_requests_keep_their_order_and_leave_when_cancelled() {
    let stuck = Stuck::new();
    let outer = ServiceBuilder::new().layer(busy());
    let stack = erased(outer.concurrency_limit(1).service(app(&stuck)));
    let first = work(&stack);
    stuck.holds(1).await;
    let (cancelled, mut third) = (work(&stack), work(&stack));
    assert!(waits(&mut third).await);
    cancelled.abort();
    assert!(cancelled.await.expect_err("aborted").is_cancelled());
    for request in [first, third] {
        stuck.release(1);
        assert_served([request]).await;
    }
}
