//! tower's limits around and inside the layer, while the app is full of requests that are stuck.
//!
//! Nothing here measures time: a probe must be answered while the stuck requests are still stuck.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use crate::helpers::gate::Gate;
use crate::helpers::stuck::Stuck;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{task::JoinHandle, time::timeout};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    layer::layer_fn,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
    load_shed::error::Overloaded,
    service_fn,
    timeout::error::Elapsed,
    util::BoxCloneService,
};
use tower_health::{
    Health, HealthLayer, Outcome,
    service::{BusyService, HealthService},
};

const LIMIT: Duration = Duration::from_secs(30);
/// So long that only a limit's own end can come first.
const AGE: Duration = Duration::from_secs(3_600);

type Reply = Response<Full<Bytes>>;
type App = BoxCloneService<Request<()>, Reply, BoxError>;
/// Puts the layer and a limit around the app.
type Stacked = fn(App) -> Wrapped;
type Wrapped = BoxCloneService<Request<()>, (), BoxError>;

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

fn layer() -> HealthLayer {
    HealthLayer::new(
        Health::builder()
            .check("database", async || Ok(Outcome::up()))
            .build(),
    )
}

fn busy<S>() -> impl Layer<S, Service = HealthService<BusyService<S>>> {
    layer_fn(|inner| layer().layer(BusyService::new(inner)))
}

/// Each stack has a type of its own; what matters is the status, and the error.
fn erased<S, B>(stack: S) -> Wrapped
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

fn work(stack: &Wrapped) -> JoinHandle<Result<(), BoxError>> {
    tokio::spawn(stack.clone().oneshot(request("/work")))
}

async fn probe(stack: &Wrapped) -> Result<(), BoxError> {
    timeout(LIMIT, stack.clone().oneshot(request("/readyz")))
        .await
        .expect("is not behind the limit")
}

/// Whether `future` is still waiting after everything else had its turn.
async fn waits(future: impl Future) -> bool {
    let mut future = pin!(future);
    for _ in 0..100 {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

/// Two requests fill the limits of these stacks; a third one waits, and is served in the end.
#[tokio::test]
async fn outermost_and_answering_when_busy_a_full_app_holds_up_no_probe() {
    let table: [(&str, Stacked); 6] = [
        ("concurrency limit", |app| {
            erased(
                ServiceBuilder::new()
                    .layer(busy())
                    .concurrency_limit(2)
                    .service(app),
            )
        }),
        ("timeout and concurrency limit", |app| {
            let builder = ServiceBuilder::new().layer(busy()).timeout(AGE);
            erased(builder.concurrency_limit(2).service(app))
        }),
        ("concurrency limit and timeout", |app| {
            let builder = ServiceBuilder::new().layer(busy()).concurrency_limit(2);
            erased(builder.timeout(AGE).service(app))
        }),
        // One in the buffer's place for those that wait, so that the third is refused readiness.
        ("buffer and concurrency limit", |app| {
            let builder = ServiceBuilder::new().layer(busy()).buffer(1);
            erased(builder.concurrency_limit(2).service(app))
        }),
        // `RateLimit` is no `Clone`: a buffer makes it one.
        ("buffer and rate limit", |app| {
            let builder = ServiceBuilder::new().layer(busy()).buffer(1);
            erased(builder.rate_limit(2, AGE).service(app))
        }),
        ("a limit of the limit", |app| {
            let inner = ConcurrencyLimit::new(busy().layer(ConcurrencyLimit::new(app, 2)), 100);
            erased(inner)
        }),
    ];
    for (what, stack) in table {
        let stuck = Stuck::new();
        let stack = stack(app(&stuck));
        let mut inside = [work(&stack), work(&stack)];
        stuck.holds(2).await;
        let mut outside: Vec<_> = (0..5).map(|_| work(&stack)).collect();
        for _ in 0..100 {
            probe(&stack).await.expect("answered");
        }
        for request in inside.iter_mut().chain(&mut outside) {
            assert!(waits(request).await, "{what}: it should be stuck");
        }
        stuck.release_all();
        for request in inside {
            let served = timeout(LIMIT, request).await.expect("in time");
            served.expect("no panic").expect("served");
        }
        // The rate limit lets no more through, whatever the app does.
        if !what.contains("rate") {
            for request in outside {
                let served = timeout(LIMIT, request).await.expect("in time");
                served.expect("no panic").expect("served");
            }
        }
        probe(&stack).await.expect("answered");
    }
}

/// What `BusyService` is for: without it back-pressure holds the probe up, too.
#[tokio::test]
async fn outermost_without_it_a_probe_waits_with_the_others() {
    let stuck = Stuck::new();
    let stack = ServiceBuilder::new().layer(layer()).concurrency_limit(2);
    let stack = erased(stack.service(app(&stuck)));
    let inside = [work(&stack), work(&stack)];
    stuck.holds(2).await;
    assert!(waits(stack.clone().oneshot(request("/readyz"))).await);
    stuck.release_all();
    probe(&stack).await.expect("answered");
    for request in inside {
        request.await.expect("no panic").expect("served");
    }
}

/// tower has no way to give a reserved place back: behind a buffer a probe keeps one until the next
/// request, unless [`BusyService`] is between.
#[tokio::test]
async fn behind_a_buffer_a_probe_keeps_a_place_unless_always_ready() {
    for always_ready in [false, true] {
        let stuck = Stuck::new();
        let limited = GlobalConcurrencyLimitLayer::new(1).layer(app(&stuck));
        let buffered = ServiceBuilder::new().buffer(1);
        let stack = if always_ready {
            erased(buffered.layer(busy()).service(limited.clone()))
        } else {
            erased(buffered.layer(layer()).service(limited.clone()))
        };
        for _ in 0..3 {
            probe(&stack).await.expect("answered");
        }
        let other = tokio::spawn(limited.oneshot(request("/work")));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stuck.held() == 1, always_ready);
        // The next request through the buffer uses the place, and leaves it.
        let next = work(&stack);
        stuck.release_all();
        for request in [
            timeout(LIMIT, next)
                .await
                .map(|next| next.expect("no panic")),
            timeout(LIMIT, other)
                .await
                .map(|other| other.expect("no panic").map(drop)),
        ] {
            request.expect("in time").expect("served");
        }
    }
}

/// Servers call a clone for each request, and drop it: then nothing is kept.
#[tokio::test]
async fn a_clone_that_answered_a_probe_keeps_no_place() {
    let stuck = Stuck::new();
    let limited = GlobalConcurrencyLimitLayer::new(1).layer(app(&stuck));
    let stack = erased(layer().layer(limited.clone()));
    for _ in 0..3 {
        probe(&stack).await.expect("answered");
    }
    let other = tokio::spawn(limited.oneshot(request("/work")));
    stuck.holds(1).await;
    stuck.release_all();
    other.await.expect("no panic").expect("served");
}

/// Whoever sheds load never makes a probe wait: then plain `HealthLayer` is enough.
#[tokio::test]
async fn around_a_load_shed_probes_are_answered_and_the_rest_is_shed() {
    let table: [(&str, Stacked); 2] = [
        ("plain", |app| {
            let builder = ServiceBuilder::new().layer(layer()).load_shed();
            erased(builder.concurrency_limit(2).service(app))
        }),
        ("when busy", |app| {
            let builder = ServiceBuilder::new().layer(busy()).load_shed();
            erased(builder.concurrency_limit(2).service(app))
        }),
    ];
    for (what, stack) in table {
        let stuck = Stuck::new();
        let stack = stack(app(&stuck));
        let inside = [work(&stack), work(&stack)];
        stuck.holds(2).await;
        for _ in 0..10 {
            probe(&stack).await.expect("answered");
            let error = work(&stack).await.expect("no panic").expect_err("shed");
            assert!(error.is::<Overloaded>(), "{what}: {error}");
        }
        stuck.release_all();
        for request in inside {
            request.await.expect("no panic").expect("served");
        }
    }
}

/// The trap of `BusyService`: it is always ready, so what stands outside never sheds.
#[tokio::test]
async fn inside_a_load_shed_a_probe_is_shed_or_else_nothing_is() {
    let stuck = Stuck::new();
    let builder = ServiceBuilder::new().load_shed().layer(layer());
    let shedding = erased(builder.concurrency_limit(1).service(app(&stuck)));
    let inside = work(&shedding);
    stuck.holds(1).await;
    let error = probe(&shedding).await.expect_err("shed");
    assert!(error.is::<Overloaded>(), "{error}");

    let builder = ServiceBuilder::new().load_shed().layer(busy());
    let queueing = erased(builder.concurrency_limit(1).service(app(&stuck)));
    let first = work(&queueing);
    stuck.holds(1).await;
    probe(&queueing).await.expect("answered");
    let mut second = work(&queueing);
    assert!(waits(&mut second).await, "queued instead of shed");
    stuck.release_all();
    for request in [inside, first, second] {
        request.await.expect("no panic").expect("served");
    }
}

/// Inside a limit a probe is one more request, whatever the layer does.
#[tokio::test]
async fn inside_a_limit_a_probe_takes_a_place() {
    for limited in [
        |app: App| {
            erased(
                ServiceBuilder::new()
                    .concurrency_limit(1)
                    .layer(busy())
                    .service(app),
            )
        },
        |app: App| {
            let builder = ServiceBuilder::new().buffer(1).concurrency_limit(1);
            erased(builder.layer(busy()).service(app))
        },
    ] {
        let stuck = Stuck::new();
        let stack = limited(app(&stuck));
        let inside = work(&stack);
        stuck.holds(1).await;
        assert!(waits(stack.clone().oneshot(request("/readyz"))).await);
        stuck.release_all();
        inside.await.expect("no panic").expect("served");
        probe(&stack).await.expect("answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_ends_a_slow_probe_and_not_its_run_and_one_inside_spares_it() {
    let gate = Gate::new();
    let health = Health::builder().check("database", gate.check()).build();
    let layer = HealthLayer::new(health);
    let app = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Reply::default()));
    let short = Duration::from_millis(100);

    let around = ServiceBuilder::new().timeout(short).layer(layer.clone());
    let error = probe(&erased(around.service(app))).await.expect_err("late");
    assert!(error.is::<Elapsed>(), "{error}");
    // Its run is still under way: the next caller gets what it finds.
    gate.pass.add_permits(1);
    let inside = ServiceBuilder::new().layer(layer).timeout(short);
    probe(&erased(inside.service(app))).await.expect("answered");
    assert_eq!(gate.runs(), 1);
}

/// A passed-through request that waits for readiness keeps its place in the queue.
#[tokio::test]
async fn requests_are_let_in_by_turns_and_one_that_gives_up_leaves_its_place() {
    let stuck = Stuck::new();
    let stack = ServiceBuilder::new().layer(busy()).concurrency_limit(1);
    let stack = erased(stack.service(app(&stuck)));
    let first = work(&stack);
    stuck.holds(1).await;
    let (gives_up, mut third) = (work(&stack), work(&stack));
    assert!(waits(&mut third).await);
    gives_up.abort();
    assert!(gives_up.await.expect_err("aborted").is_cancelled());
    stuck.release(1);
    first.await.expect("no panic").expect("served");
    stuck.holds(1).await;
    stuck.release(1);
    timeout(LIMIT, third)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("served");
}
