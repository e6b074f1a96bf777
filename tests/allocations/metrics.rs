//! With a recorder installed a cached probe still asks for no memory.

use std::{
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

use super::counting::ALLOCATIONS;

const REQUESTS: usize = 100;

fn request() -> Request<()> {
    Request::get("/readyz")
        .header("host", "test")
        .body(())
        .expect("valid")
}

#[test]
fn a_counted_probe_allocates_nothing() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
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
