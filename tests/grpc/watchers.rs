//! What watching costs: one driver whoever watches, nothing when nobody does.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::{runtime::Handle, time::sleep};
use tonic_health::pb::HealthCheckRequest;
use tower::{Layer, Service, service_fn};
use tower_health::{
    Dependency, Failure, Health, HealthLayer, Outcome, Reason, ResponseBody, mode::Grpc,
};

type Stream = ResponseBody<Full<Bytes>, Grpc>;

const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";

/// Watches `name` in process: what servers and connections cost is not the question here.
async fn watch(layer: &HealthLayer, name: &str) -> Response<Stream> {
    let mut service = layer
        .clone()
        .grpc()
        .layer(service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    let asked = HealthCheckRequest {
        service: name.to_owned(),
    };
    let message = prost::Message::encode_to_vec(&asked);
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend(message);
    let request = Request::post("/grpc.health.v1.Health/Watch")
        .header("content-type", "application/grpc")
        .body(Full::from(frame));
    service
        .call(request.expect("valid"))
        .await
        .expect("never fails")
}

async fn next(stream: &mut Stream) -> Frame<Bytes> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_frame(cx)).await;
    frame.expect("goes on").expect("never fails")
}

async fn status(stream: &mut Stream) -> Bytes {
    next(stream).await.into_data().expect("a message")
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

/// On a stopped clock: what runs, runs for its period alone.
#[tokio::test(start_paused = true)]
async fn checks_run_at_their_period_while_anybody_watches_and_no_longer() {
    let dial = Dial::default();
    let layer = HealthLayer::new(dial.health(Duration::from_secs(10)));
    let idle = Handle::current().metrics().num_alive_tasks();
    for _ in 0..2 {
        let before = dial.runs();
        let mut watches = Vec::new();
        for _ in 0..100 {
            let mut watch = watch(&layer, "").await.into_body();
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
        assert_eq!(dial.runs(), runs, "nobody watches");
        assert_eq!(Handle::current().metrics().num_alive_tasks(), idle);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_are_woken_once_per_change_and_one_more_is_refused() {
    let dial = Dial::default();
    let layer = HealthLayer::new(dial.health(Duration::from_secs(1)));
    let mut watches = Vec::new();
    for _ in 0..10_000 {
        let mut watch = watch(&layer, "").await.into_body();
        assert_eq!(status(&mut watch).await, SERVING);
        watches.push((watch, Arc::new(Woken::default())));
    }
    let refused = watch(&layer, "").await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert!(refused.into_body().is_end_stream());

    let poll = |watch: &mut Stream, woken: &Arc<Woken>| {
        let waker = Waker::from(woken.clone());
        pin!(watch).poll_frame(&mut Context::from_waker(&waker))
    };
    for (watch, woken) in &mut watches {
        assert!(poll(watch, woken).is_pending());
    }
    // Five runs without news, then news.
    sleep(Duration::from_secs(5)).await;
    let woken = |woken: &Woken| woken.0.load(Ordering::SeqCst);
    assert!(watches.iter().all(|(_, count)| woken(count) == 0));
    dial.down.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    for (watch, count) in &mut watches {
        assert_eq!(woken(count), 1);
        let Poll::Ready(Some(Ok(frame))) = poll(watch, count) else {
            panic!("no news");
        };
        assert_eq!(frame.into_data().expect("a message"), NOT_SERVING);
        assert!(poll(watch, count).is_pending());
        assert_eq!(woken(count), 1);
    }
    // Room again once somebody goes.
    watches.pop();
    let mut late = watch(&layer, "").await.into_body();
    assert_eq!(status(&mut late).await, NOT_SERVING);
}

/// Who reads slowly gets the newest, and what came back meanwhile is no news.
#[tokio::test(start_paused = true)]
async fn what_was_between_is_left_out() {
    let dial = Dial::default();
    let layer = HealthLayer::new(dial.health(Duration::from_secs(1)));
    let mut watch = watch(&layer, "").await.into_body();
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
async fn a_drain_ends_streams_when_its_delay_is_over() {
    let dial = Dial::default();
    let health = dial.health(Duration::from_secs(1));
    let layer = HealthLayer::new(health.clone());
    let mut watch = watch(&layer, "").await.into_body();
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

    // Whoever comes later is told, and goes before long: a loop of tries would be worse.
    let start = tokio::time::Instant::now();
    let mut late = self::watch(&layer, "").await.into_body();
    assert_eq!(status(&mut late).await, NOT_SERVING);
    assert!(next(&mut late).await.is_trailers());
    assert_eq!(start.elapsed().as_secs(), 1);
}

/// With a refresh in the background nothing more runs for watchers, and they hear of it.
#[tokio::test(start_paused = true)]
async fn a_background_refresh_is_watched_as_it_is() {
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
    let layer = HealthLayer::new(health);
    let mut watch = watch(&layer, "").await.into_body();
    assert_eq!(status(&mut watch).await, SERVING);
    let before = dial.runs();
    sleep(Duration::from_secs(1_000)).await;
    let runs = dial.runs() - before;
    assert!((90..=101).contains(&runs), "{runs}");
    dial.down.store(true, Ordering::SeqCst);
    assert_eq!(status(&mut watch).await, NOT_SERVING);
}
