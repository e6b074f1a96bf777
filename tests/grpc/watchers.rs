//! What watches cost and which limits they have, on a paused clock: only periods start runs.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame};
use http_body_util::Full;
use prost::Message;
use tokio::{
    runtime::Handle,
    task::unconstrained,
    time::{Instant, sleep, timeout},
};
use tonic::body::Body as Stream;
use tower::Service;
use tower_health::{Access, Dependency, Health, Outcome, grpc::GrpcService};

use crate::helpers::{grpc::ask, switch::Switch};

const SECOND: Duration = Duration::from_secs(1);
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";
const UNKNOWN: &[u8] = b"\0\0\0\0\x02\x08\x03";

fn health(switch: &Switch, period: Duration) -> Health {
    let dependency = Dependency::new("database", switch.check()).cache_for(period);
    Health::builder().add(dependency).build()
}

/// Watches `name` in process; the first status is `expected`.
async fn watch(service: &GrpcService, name: &str, expected: &[u8]) -> Stream {
    let message = ask(name).encode_to_vec();
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend(message);
    let request = Request::post("/grpc.health.v1.Health/Watch")
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(Full::<Bytes>::from(frame))
        .expect("valid");
    let Ok(response) = service.clone().call(request).await;
    let mut watch = response.into_body();
    assert_eq!(status(&mut watch).await, expected);
    watch
}

async fn next(stream: &mut Stream) -> Frame<Bytes> {
    let frame = poll_fn(|cx| Pin::new(&mut *stream).poll_frame(cx)).await;
    frame.expect("is open").expect("no error")
}

async fn status(stream: &mut Stream) -> Bytes {
    next(stream).await.into_data().expect("a message")
}

/// How often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls without the test's budget: on a server each stream has its own task.
fn poll(stream: &mut Stream, woken: &Arc<Woken>) -> Poll<Bytes> {
    let waker = Waker::from(woken.clone());
    let next = pin!(unconstrained(status(stream)));
    next.poll(&mut Context::from_waker(&waker))
}

#[tokio::test(start_paused = true)]
async fn checks_run_at_their_period_while_a_watch_is_open() {
    let switch = Switch::on();
    let service = health(&switch, 10 * SECOND).grpc_service();
    let idle = Handle::current().metrics().num_alive_tasks();
    for _ in 0..2 {
        let before = switch.runs();
        let mut watches = Vec::new();
        for _ in 0..100 {
            watches.push(watch(&service, "", SERVING).await);
        }
        sleep(1_000 * SECOND).await;
        // A period is 10 to 11 s, for any number of watches.
        let runs = switch.runs() - before;
        assert!((90..=101).contains(&runs), "{runs}");
        assert!(Handle::current().metrics().num_alive_tasks() <= idle + 3);
        watches.truncate(1);
        sleep(100 * SECOND).await;
        assert!(switch.runs() - before - runs >= 9, "one is enough");
        drop(watches);
        sleep(SECOND).await;
        let runs = switch.runs();
        sleep(1_000 * SECOND).await;
        assert_eq!(switch.runs(), runs, "no watch is open");
        assert_eq!(Handle::current().metrics().num_alive_tasks(), idle);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_follows_the_background_refresh() {
    let switch = Switch::on();
    let builder = Health::builder().check("database", switch.check());
    let health = builder.refresh_every(10 * SECOND).build();
    let service = health.grpc_service();
    let mut watch = watch(&service, "", SERVING).await;
    let before = switch.runs();
    sleep(1_000 * SECOND).await;
    // The watch starts no run.
    let runs = switch.runs() - before;
    assert!((90..=101).contains(&runs), "{runs}");
    switch.set(false);
    assert_eq!(status(&mut watch).await, NOT_SERVING);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_watches_wake_once_per_change() {
    let switch = Switch::on();
    let service = health(&switch, SECOND).grpc_service();
    let mut watches = Vec::new();
    for _ in 0..10_000 {
        let watch = watch(&service, "", SERVING).await;
        watches.push((watch, Arc::new(Woken::default())));
    }
    for (watch, woken) in &mut watches {
        assert!(poll(watch, woken).is_pending());
    }
    // Five runs without a change, then a change.
    sleep(5 * SECOND).await;
    assert!(watches.iter().all(|(_, woken)| woken.count() == 0));
    switch.set(false);
    sleep(5 * SECOND).await;
    for (watch, woken) in &mut watches {
        assert_eq!(woken.count(), 1);
        assert!(matches!(poll(watch, woken), Poll::Ready(sent) if sent == NOT_SERVING));
        assert!(poll(watch, woken).is_pending());
        assert_eq!(woken.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_newest_status_only() {
    let switch = Switch::on();
    let service = health(&switch, SECOND).grpc_service();
    let mut watch = watch(&service, "", SERVING).await;
    for up in [false, true, false] {
        switch.set(up);
        sleep(5 * SECOND).await;
    }
    assert_eq!(status(&mut watch).await, NOT_SERVING);
    for up in [true, false] {
        switch.set(up);
        sleep(5 * SECOND).await;
    }
    let silent = timeout(100 * SECOND, next(&mut watch)).await;
    assert!(silent.is_err(), "{silent:?}");
}

#[tokio::test(start_paused = true)]
async fn the_shortest_drain_delay_ends_watches() {
    let health = health(&Switch::on(), SECOND);
    let service = health.grpc_service();
    let mut open = watch(&service, "", SERVING).await;
    health.set_draining(true);
    assert_eq!(status(&mut open).await, NOT_SERVING);
    sleep(SECOND * 9 / 10).await;
    // In time: the watch stays open.
    health.set_draining(false);
    assert_eq!(status(&mut open).await, SERVING);
    sleep(100 * SECOND).await;

    let start = Instant::now();
    for seconds in [300, 30, 600] {
        let health = health.clone();
        tokio::spawn(async move { health.drain(seconds * SECOND).await });
    }
    assert_eq!(status(&mut open).await, NOT_SERVING);
    let trailers = next(&mut open).await.into_trailers().expect("the end");
    assert_eq!(trailers["grpc-status"], "14");
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(open.is_end_stream());

    // A later watch ends soon, but not at once: the client would retry at once.
    let start = Instant::now();
    let mut late = watch(&service, "", NOT_SERVING).await;
    assert!(next(&mut late).await.is_trailers());
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_an_unknown_name_sleeps_until_it_is_known() {
    let health = health(&Switch::on(), SECOND);
    let service = health.grpc_service().details(Access::everybody());
    let _known = watch(&service, "", SERVING).await;
    let mut unknown = watch(&service, "unknown", UNKNOWN).await;
    sleep(SECOND).await;
    let woken = Arc::new(Woken::default());
    assert!(poll(&mut unknown, &woken).is_pending());
    sleep(100 * SECOND).await;
    assert_eq!(woken.count(), 0);
    for (name, wakes) in [("other", 0), ("unknown", 1)] {
        let later = Dependency::new(name, async || Ok(Outcome::up()));
        health.add(later).expect("a new name");
        sleep(SECOND).await;
        assert_eq!(woken.count(), wakes, "{name}");
    }
    assert!(matches!(poll(&mut unknown, &woken), Poll::Ready(sent) if sent == SERVING));
}
