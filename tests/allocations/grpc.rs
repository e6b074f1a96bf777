//! What a `Check` and a `Watch` cost in memory, counted.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_health::{Dependency, Health, HealthLayer, Outcome};

use super::counting::{ALLOCATIONS, HELD};

type Asked = Request<Full<Bytes>>;

fn request(method: &str, message: &'static [u8]) -> Asked {
    Request::post(format!("/grpc.health.v1.Health/{method}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", "kube-probe/1.33")
        .body(Full::new(Bytes::from_static(message)))
        .expect("valid")
}

/// Allocations from the call to the last frame, and the count of frames.
fn allocations<S, B>(service: &mut S, request: Asked) -> (usize, usize)
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let before = ALLOCATIONS.get();
    let mut frames = 0;
    {
        let mut future = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
            panic!("everything here is ready at once")
        };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = Pin::as_mut(&mut body).poll_frame(&mut cx) {
            assert!(frame.is_ok());
            frames += 1;
        }
    }
    (ALLOCATIONS.get() - before, frames)
}

fn layered(
    health: Health,
) -> impl Service<Asked, Response = Response<impl Body + Unpin>, Error = Infallible> {
    HealthLayer::new(health)
        .grpc()
        .layer(service_fn(async |_: Asked| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }))
}

#[tokio::test(start_paused = true)]
async fn a_check_allocates_at_most_four_times() {
    let up = async || Ok(Outcome::up());
    let minute = Duration::from_secs(60);
    let health = Health::builder()
        .add(Dependency::new("database", up).cache_for(minute).group("a"))
        .build();
    health.report().await;
    let mut service = layered(health);
    // Method, message, allocations, frames. Trailers are two, the name of an unknown service is one.
    let table: [(&str, &[u8], usize, usize); 4] = [
        ("Check", b"\0\0\0\0\0", 4, 2),
        ("Check", b"\0\0\0\0\x03\x0a\x01a", 4, 2),
        // Refusals have no trailers: their head is.
        ("Check", b"\0\0\0\0\x03\x0a\x01x", 3, 0),
        ("Check", b"\x01\0\0\0\0", 2, 0),
    ];
    for (method, message, most, frames) in table {
        allocations(&mut service, request(method, message));
        let found = allocations(&mut service, request(method, message));
        assert!(found.0 <= most, "{method} {message:?}: {}", found.0);
        assert_eq!(found.1, frames);
    }
}

/// On one thread, so that what the driver holds is counted, too.
#[tokio::test(start_paused = true)]
async fn a_watch_holds_at_most_256_bytes() {
    const WATCHES: usize = 1_000;

    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    health.report().await;
    let mut service = layered(health);
    let mut bodies = Vec::with_capacity(WATCHES);
    let before = HELD.get();
    for _ in 0..WATCHES {
        let response = service.call(request("Watch", b"\0\0\0\0\0"));
        let mut body = response.await.expect("never fails").into_body();
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        bodies.push(body);
    }
    let each = (HELD.get() - before) / WATCHES;
    assert!(each <= 256, "{each}");
    drop(bodies);
    // Nor is anything left of them.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(HELD.get() <= before + 4_096, "{} more", HELD.get() - before);
}
