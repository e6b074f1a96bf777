//! With a recorder installed a cached probe still asks for no memory.
#![cfg(feature = "metrics")]
#![allow(missing_docs)]
// One allocator that counts; the crate itself forbids unsafe code.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    future::{Future, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{Layer, Service, service_fn};
use tower_health::{Dependency, Health, HealthLayer, Outcome};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Gone only while the thread itself goes.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const REQUESTS: usize = 100;

fn request() -> Request<()> {
    Request::get("/readyz")
        .header("host", "test")
        .body(())
        .expect("valid")
}

#[test]
fn a_counted_probe_allocates_nothing() {
    let exporter = PrometheusBuilder::new().install_recorder().expect("first");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let health = Health::builder()
        .add(
            Dependency::new("database", async || Ok(Outcome::up()))
                .cache_for(Duration::from_secs(60)),
        )
        .build();
    let service = HealthLayer::new(health.clone()).layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(""))))
    }));
    runtime.block_on(async {
        health.report().await;
    });
    let _inside = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    let mut probe = |request| {
        let mut service = service.clone();
        let Poll::Ready(response) = pin!(service.call(request)).poll(&mut cx) else {
            panic!("answered from the cache");
        };
        response.expect("infallible").status()
    };
    // The first makes the answer and the series.
    for _ in 0..2 {
        assert_eq!(probe(request()), StatusCode::OK);
    }
    let requests: Vec<_> = (0..REQUESTS).map(|_| request()).collect();
    let before = ALLOCATIONS.get();
    for request in requests {
        assert_eq!(probe(request), StatusCode::OK);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let counted = format!(
        r#"health_probe_requests_total{{probe="readiness",code="200"}} {}"#,
        REQUESTS + 2
    );
    let text = exporter.render();
    assert!(text.contains(&counted), "{counted} in {text}");
}
