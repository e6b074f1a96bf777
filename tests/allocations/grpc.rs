//! The memory of an open `Watch`.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body::Body;
use http_body_util::Full;
use tower::Service;
use tower_health::{Health, Outcome};

use super::{ALLOCATIONS, HELD};

const WATCHES: usize = 1_000;

fn request(message: &'static [u8]) -> Request<Full<Bytes>> {
    Request::post("/grpc.health.v1.Health/Watch")
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from_static(message)))
        .expect("valid")
}

/// The buffer of tonic's default codec alone takes 8 KiB.
#[tokio::test(start_paused = true)]
async fn an_open_watch_holds_at_most_640_bytes() {
    for message in [&b"\0\0\0\0\0"[..], b"\0\0\0\0\x03\x0a\x01x"] {
        let check = async || Ok(Outcome::up());
        let health = Health::builder().check("database", check).build();
        health.report().await;
        let mut service = health.grpc_service();
        let mut cx = Context::from_waker(Waker::noop());
        let mut bodies = Vec::with_capacity(WATCHES);
        let mut opened = Vec::with_capacity(WATCHES);
        let before = HELD.get();
        for _ in 0..WATCHES {
            let allocations = ALLOCATIONS.get();
            let Ok(response) = service.call(request(message)).await;
            let mut body = response.into_body();
            opened.push(ALLOCATIONS.get() - allocations);
            let first = pin!(&mut body).poll_frame(&mut cx);
            assert!(matches!(first, Poll::Ready(Some(Ok(_)))), "{first:?}");
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
