//! What watches cost: one task for all of them, nothing without one.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::{runtime::Handle, task::unconstrained, time::sleep};
use tonic_health::pb::HealthCheckRequest;
use tower::Service;
use tower_health::{Dependency, Failure, Health, Outcome, PeerAddr, Reason, grpc::GrpcService};

type Stream = tonic::body::Body;

const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";
const UNKNOWN: &[u8] = b"\0\0\0\0\x02\x08\x03";

/// Watches `name` in process: what servers and connections cost does not matter here.
async fn watch(service: &GrpcService, name: &str) -> Response<Stream> {
    watch_from(service, name, None).await
}

async fn watch_from(service: &GrpcService, name: &str, peer: Option<PeerAddr>) -> Response<Stream> {
    let call = HealthCheckRequest {
        service: name.to_owned(),
    };
    let message = prost::Message::encode_to_vec(&call);
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend(message);
    let mut request = Request::post("/grpc.health.v1.Health/Watch")
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(Full::<Bytes>::from(frame))
        .expect("valid");
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    service.clone().call(request).await.expect("never fails")
}

async fn next(stream: &mut Stream) -> Frame<Bytes> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_frame(cx)).await;
    frame.expect("goes on").expect("never fails")
}

async fn status(stream: &mut Stream) -> Bytes {
    next(stream).await.into_data().expect("a message")
}

/// Polls outside of the test's own budget: on a server each stream has a task of its own.
fn poll(
    stream: &mut Stream,
    woken: &Arc<Woken>,
) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
    let waker = Waker::from(woken.clone());
    let next = unconstrained(std::future::poll_fn(|cx| {
        Pin::new(&mut *stream).poll_frame(cx)
    }));
    pin!(next).poll(&mut Context::from_waker(&waker))
}

/// How often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
struct Dial {
    runs: Arc<AtomicUsize>,
    down: Arc<std::sync::atomic::AtomicBool>,
}

impl Dial {
    fn health(&self, period: Duration) -> Health {
        let dial = self.clone();
        let check = move || {
            dial.runs.fetch_add(1, Ordering::SeqCst);
            let down = dial.down.load(Ordering::SeqCst);
            async move {
                if down {
                    Err(Failure::new(Reason::Refused))
                } else {
                    Ok(Outcome::up())
                }
            }
        };
        Health::builder()
            .add(Dependency::new("database", check).cache_for(period))
            .build()
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

/// On a paused clock only the period starts runs.
#[tokio::test(start_paused = true)]
async fn checks_run_at_their_period_while_a_watch_is_open() {
    let dial = Dial::default();
    let service = dial.health(Duration::from_secs(10)).grpc_service();
    let idle = Handle::current().metrics().num_alive_tasks();
    for _ in 0..2 {
        let before = dial.runs();
        let mut watches = Vec::new();
        for _ in 0..100 {
            let mut watch = watch(&service, "").await.into_body();
            assert_eq!(status(&mut watch).await, SERVING);
            watches.push(watch);
        }
        sleep(Duration::from_secs(1_000)).await;
        // A period is 10 s and up to a tenth more, however many watch.
        let runs = dial.runs() - before;
        assert!((90..=101).contains(&runs), "{runs}");
        assert!(Handle::current().metrics().num_alive_tasks() <= idle + 3);
        watches.truncate(1);
        sleep(Duration::from_secs(100)).await;
        assert!(dial.runs() - before - runs >= 9, "one is enough");
        drop(watches);
        sleep(Duration::from_secs(1)).await;
        let runs = dial.runs();
        sleep(Duration::from_secs(1_000)).await;
        assert_eq!(dial.runs(), runs, "no watch is open");
        assert_eq!(Handle::current().metrics().num_alive_tasks(), idle);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_watches_wake_once_per_change() {
    let dial = Dial::default();
    let service = dial.health(Duration::from_secs(1)).grpc_service();
    let mut watches = Vec::new();
    for _ in 0..10_000 {
        let mut watch = watch(&service, "").await.into_body();
        assert_eq!(status(&mut watch).await, SERVING);
        watches.push((watch, Arc::new(Woken::default())));
    }
    let refused = watch(&service, "").await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert!(refused.into_body().is_end_stream());

    for (watch, woken) in &mut watches {
        assert!(poll(watch, woken).is_pending());
    }
    // Five runs without a change, then a change.
    sleep(Duration::from_secs(5)).await;
    let woken = |woken: &Woken| woken.0.load(Ordering::SeqCst);
    assert!(watches.iter().all(|(_, count)| woken(count) == 0));
    dial.down.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    for (watch, count) in &mut watches {
        assert_eq!(woken(count), 1);
        let Poll::Ready(Some(Ok(frame))) = poll(watch, count) else {
            panic!("no change");
        };
        assert_eq!(frame.into_data().expect("a message"), NOT_SERVING);
        assert!(poll(watch, count).is_pending());
        assert_eq!(woken(count), 1);
    }
    // Room again once a watch ends.
    watches.pop();
    let mut late = watch(&service, "").await.into_body();
    assert_eq!(status(&mut late).await, NOT_SERVING);
}

/// A slow reader gets the newest, and a status that came back in between is not sent again.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_newest_status_only() {
    let dial = Dial::default();
    let service = dial.health(Duration::from_secs(1)).grpc_service();
    let mut watch = watch(&service, "").await.into_body();
    assert_eq!(status(&mut watch).await, SERVING);
    for down in [true, false, true] {
        dial.down.store(down, Ordering::SeqCst);
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(status(&mut watch).await, NOT_SERVING);
    for down in [false, true] {
        dial.down.store(down, Ordering::SeqCst);
        sleep(Duration::from_secs(5)).await;
    }
    let silent = tokio::time::timeout(Duration::from_secs(100), next(&mut watch)).await;
    assert!(silent.is_err(), "{silent:?}");
}

/// Streams end when the first drain is over, and not before; taken back, they stay.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_watches_after_its_delay() {
    let dial = Dial::default();
    let health = dial.health(Duration::from_secs(1));
    let service = health.grpc_service();
    let mut watch = watch(&service, "").await.into_body();
    assert_eq!(status(&mut watch).await, SERVING);
    health.set_draining(true);
    assert_eq!(status(&mut watch).await, NOT_SERVING);
    sleep(Duration::from_millis(900)).await;
    health.set_draining(false);
    assert_eq!(status(&mut watch).await, SERVING);
    sleep(Duration::from_secs(100)).await;

    let start = tokio::time::Instant::now();
    for seconds in [300, 30, 600] {
        let health = health.clone();
        tokio::spawn(async move { health.drain(Duration::from_secs(seconds)).await });
    }
    assert_eq!(status(&mut watch).await, NOT_SERVING);
    let trailers = next(&mut watch).await.into_trailers().expect("the end");
    assert_eq!(trailers["grpc-status"], "14");
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(watch.is_end_stream());

    // A later watch ends soon, but not at once: the client would retry at once.
    let start = tokio::time::Instant::now();
    let mut late = self::watch(&service, "").await.into_body();
    assert_eq!(status(&mut late).await, NOT_SERVING);
    assert!(next(&mut late).await.is_trailers());
    assert_eq!(start.elapsed().as_secs(), 1);
}

/// With a background refresh a watch starts no run of its own.
#[tokio::test(start_paused = true)]
async fn a_watch_follows_the_background_refresh() {
    let dial = Dial::default();
    let down = dial.clone();
    let health = Health::builder()
        .check("database", move || {
            down.runs.fetch_add(1, Ordering::SeqCst);
            let down = down.down.load(Ordering::SeqCst);
            async move {
                if down {
                    Err(Failure::new(Reason::Refused))
                } else {
                    Ok(Outcome::up())
                }
            }
        })
        .refresh_every(Duration::from_secs(10))
        .build();
    let service = health.grpc_service();
    let mut watch = watch(&service, "").await.into_body();
    assert_eq!(status(&mut watch).await, SERVING);
    let before = dial.runs();
    sleep(Duration::from_secs(1_000)).await;
    let runs = dial.runs() - before;
    assert!((90..=101).contains(&runs), "{runs}");
    dial.down.store(true, Ordering::SeqCst);
    assert_eq!(status(&mut watch).await, NOT_SERVING);
}

fn peer(address: &str) -> Option<PeerAddr> {
    Some(PeerAddr(address.parse().expect("an address")))
}

/// The attack of row 5: from one host, over many connections.
#[tokio::test(start_paused = true)]
async fn one_host_cannot_use_up_the_watches_of_others() {
    let service = Dial::default()
        .health(Duration::from_secs(1))
        .grpc_service();
    let mut open = Vec::new();
    for connection in 0..50 {
        for _ in 0..200 {
            let from = peer(&format!("198.51.100.7:{}", 40_000 + connection));
            let watch = watch_from(&service, "", from).await;
            if !watch.headers().contains_key("grpc-status") {
                open.push(watch);
            }
        }
    }
    assert_eq!(open.len(), 1_000);
    let more = watch_from(&service, "", peer("198.51.100.7:50000")).await;
    assert_eq!(more.headers()["grpc-status"], "8");
    let mut other = watch_from(&service, "", peer("192.0.2.1:50000")).await;
    assert_eq!(status(other.body_mut()).await, SERVING);
    drop(open);
    let mut again = watch_from(&service, "", peer("198.51.100.7:50000")).await;
    assert_eq!(status(again.body_mut()).await, SERVING);
}

#[tokio::test(start_paused = true)]
async fn limits_per_peer_are_settings() {
    let health = Health::builder()
        .max_watches_per_connection(2)
        .max_watches_per_ip(3)
        .build();
    let service = health.grpc_service();
    let mut open = Vec::new();
    for (port, allowed) in [(1, true), (1, true), (1, false), (2, true), (3, false)] {
        let watch = watch_from(&service, "", peer(&format!("192.0.2.1:{port}"))).await;
        assert_eq!(watch.headers().contains_key("grpc-status"), !allowed);
        open.push(watch);
    }
}

/// A limit of their own, and each becomes an ordinary watch when its name becomes known.
#[tokio::test(start_paused = true)]
async fn watches_of_unknown_names_leave_room_for_others() {
    let health = Dial::default().health(Duration::from_secs(1));
    let service = health.grpc_service();
    let service = service.details(tower_health::Access::everybody());
    let from = || peer("192.0.2.1:9");
    let mut open = Vec::new();
    for number in 0..10 {
        let mut watch = watch_from(&service, &format!("later-{number}"), from()).await;
        assert_eq!(status(watch.body_mut()).await, UNKNOWN);
        open.push(watch);
    }
    let refused = watch_from(&service, "unknown", from()).await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    let mut known = watch_from(&service, "", from()).await;
    assert_eq!(status(known.body_mut()).await, SERVING);
    let later = Dependency::new("later-0", async || Ok(Outcome::up()));
    health.add(later).expect("a new name");
    assert_eq!(status(open[0].body_mut()).await, SERVING);
    let mut unknown = watch_from(&service, "unknown", from()).await;
    assert_eq!(status(unknown.body_mut()).await, UNKNOWN);
}

/// Neither runs nor other watches wake it.
#[tokio::test(start_paused = true)]
async fn a_watch_of_an_unknown_name_wakes_for_new_names_only() {
    let health = Dial::default().health(Duration::from_secs(1));
    let service = health.grpc_service();
    let mut known = watch(&service, "").await.into_body();
    assert_eq!(status(&mut known).await, SERVING);
    let mut unknown = watch(&service, "unknown").await.into_body();
    assert_eq!(status(&mut unknown).await, UNKNOWN);
    sleep(Duration::from_secs(1)).await;
    let woken = Arc::new(Woken::default());
    assert!(poll(&mut unknown, &woken).is_pending());
    sleep(Duration::from_secs(100)).await;
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    let other = Dependency::new("other", async || Ok(Outcome::up()));
    health.add(other).expect("a new name");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(poll(&mut unknown, &woken).is_pending());
}
