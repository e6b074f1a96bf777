//! What a `Check` and a `Watch` cost in memory, counted.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use http_body_util::Full;
use tonic_health::{ServingStatus, server::health_reporter};
use tower::Service;
use tower_health::{Dependency, Health, Outcome, Probe};

use super::counting::{ALLOCATIONS, HELD};

type Call = Request<Full<Bytes>>;

fn request(method: &str, message: &'static [u8]) -> Call {
    Request::post(format!("/grpc.health.v1.Health/{method}"))
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", "kube-probe/1.33")
        .body(Full::new(Bytes::from_static(message)))
        .expect("valid")
}

/// Allocations from the call to the last frame, and the count of frames.
fn allocations<S>(service: &mut S, request: Call) -> (usize, usize)
where
    S: Service<Call, Response = Response<tonic::body::Body>, Error = Infallible>,
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

#[tokio::test(start_paused = true)]
async fn a_check_allocates_as_one_of_tonic_health() {
    let up = async || Ok(Outcome::up());
    let minute = Duration::from_secs(60);
    let health = Health::builder()
        .add(Dependency::new("database", up).cache_for(minute).group("a"))
        .map_grpc_service("b", Probe::group("a"))
        .build();
    health.report().await;
    let mut ours = health.grpc_service();
    let (reporter, mut theirs) = health_reporter();
    reporter
        .set_service_status("b", ServingStatus::Serving)
        .await;
    // Method, message, frames, how many more. A refusal is a head alone.
    let table: [(&str, &[u8], usize, usize); 4] = [
        ("Check", b"\0\0\0\0\0", 2, 1),
        ("Check", b"\0\0\0\0\x03\x0a\x01b", 2, 1),
        ("Check", b"\0\0\0\0\x03\x0a\x01x", 0, 1),
        ("Check", b"\x01\0\0\0\0", 0, 1),
    ];
    for (method, message, frames, more) in table {
        allocations(&mut ours, request(method, message));
        let our = allocations(&mut ours, request(method, message));
        allocations(&mut theirs, request(method, message));
        let their = allocations(&mut theirs, request(method, message));
        assert!(our.0 <= their.0 + more, "{message:?}: {our:?}, {their:?}");
        assert_eq!((our.1, their.1), (frames, frames), "{message:?}");
    }
}

/// On one thread, so that what the driver holds is counted, too. tonic's default codec alone takes 8 KiB.
#[tokio::test(start_paused = true)]
async fn a_watch_holds_at_most_640_bytes() {
    const WATCHES: usize = 1_000;

    for message in [&b"\0\0\0\0\0"[..], b"\0\0\0\0\x03\x0a\x01x"] {
        let health = Health::builder()
            .check("database", async || Ok(Outcome::up()))
            .build();
        health.report().await;
        let mut service = health.grpc_service();
        let mut bodies = Vec::with_capacity(WATCHES);
        let mut opened = Vec::with_capacity(WATCHES);
        let before = HELD.get();
        for _ in 0..WATCHES {
            let allocations = ALLOCATIONS.get();
            let response = service.call(request("Watch", message));
            let mut body = response.await.expect("never fails").into_body();
            opened.push(ALLOCATIONS.get() - allocations);
            poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
            bodies.push(body);
        }
        let each = (HELD.get() - before) / WATCHES;
        assert!(each <= 640, "{each}");
        // Opening one costs the same however many are open.
        assert_eq!(opened[1], opened[WATCHES - 1]);
        drop(bodies);
        // Nor is anything left of them.
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(HELD.get() <= before + 4_096, "{} more", HELD.get() - before);
    }
}
