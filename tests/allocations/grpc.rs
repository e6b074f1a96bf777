//! The memory of a `Check` and of an open `Watch`.

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

/// The allocations from the second call to its last frame, and the number of frames.
fn allocations<S>(service: &mut S, method: &str, message: &'static [u8]) -> (usize, usize)
where
    S: Service<Call, Response = Response<tonic::body::Body>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut found = (0, 0);
    for _ in 0..2 {
        let request = request(method, message);
        let before = ALLOCATIONS.get();
        let mut frames = 0;
        {
            let mut future = pin!(service.call(request));
            let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
                panic!("every answer here is ready at once")
            };
            let mut body = pin!(response.into_body());
            while let Poll::Ready(Some(frame)) = Pin::as_mut(&mut body).poll_frame(&mut cx) {
                assert!(frame.is_ok());
                frames += 1;
            }
        }
        found = (ALLOCATIONS.get() - before, frames);
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_check_allocates_at_most_once_more_than_tonic_health() {
    let database = Dependency::new("database", async || Ok(Outcome::up()));
    let health = Health::builder()
        .add(database.cache_for(Duration::from_secs(60)).group("a"))
        .map_grpc_service("b", Probe::group("a"))
        .build();
    health.report().await;
    let mut ours = health.grpc_service();
    let (reporter, mut theirs) = health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status("b", serving).await;
    // A rejection consists of headers only.
    let table: [(&[u8], usize); 4] = [
        (b"\0\0\0\0\0", 2),
        (b"\0\0\0\0\x03\x0a\x01b", 2),
        (b"\0\0\0\0\x03\x0a\x01x", 0),
        (b"\x01\0\0\0\0", 0),
    ];
    for (message, frames) in table {
        let our = allocations(&mut ours, "Check", message);
        let their = allocations(&mut theirs, "Check", message);
        assert!(our.0 <= their.0 + 1, "{message:?}: {our:?}, {their:?}");
        assert_eq!((our.1, their.1), (frames, frames), "{message:?}");
    }
}

/// The buffer of tonic's default codec alone takes 8 KiB.
#[tokio::test(start_paused = true)]
async fn an_open_watch_holds_at_most_640_bytes() {
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
            let Ok(response) = service.call(request("Watch", message)).await;
            let mut body = response.into_body();
            opened.push(ALLOCATIONS.get() - allocations);
            poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
            bodies.push(body);
        }
        let each = (HELD.get() - before) / WATCHES;
        assert!(each <= 640, "{each}");
        // An open watch does not depend on the number of others.
        assert_eq!(opened[1], opened[WATCHES - 1]);
        drop(bodies);
        // On the paused clock: whatever ends later has ended.
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(HELD.get() <= before + 4_096, "{} more", HELD.get() - before);
    }
}
