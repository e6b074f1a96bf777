//! Requests at a steady rate, each of which must succeed.

use std::{convert::Infallible, env, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::LIMIT;

/// Every so many requests one uploads slowly, so that some are open at every moment.
const SLOW_EACH: usize = 25;
const SLOW: Duration = Duration::from_millis(400);
/// Every so many requests one goes through to the databases.
const DEEP_EACH: usize = 25;

type Body = Either<Full<Bytes>, StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>>;

#[derive(Debug)]
pub struct Load {
    stop: oneshot::Sender<()>,
    sending: JoinHandle<Tally>,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: usize,
    pub failed: usize,
    /// By how much the load itself was late at worst: how starved the machine is.
    pub late: Duration,
    /// The first few failures, for the message.
    pub failures: Vec<String>,
}

impl Load {
    /// Sends to `address`: 500 requests a second, or as many as `TOWER_HEALTH_LOAD` says. With
    /// `deep` some of them need the databases.
    pub fn start(address: SocketAddr, deep: bool) -> Self {
        let rate: f64 = env::var("TOWER_HEALTH_LOAD").ok().map_or(500.0, |rate| {
            rate.parse().expect("a number of requests a second")
        });
        let (stop, stopped) = oneshot::channel();
        let sending = tokio::spawn(send(
            address,
            deep,
            Duration::from_secs_f64(1.0 / rate),
            stopped,
        ));
        Self { stop, sending }
    }

    /// Stops, waits for open requests, and returns the result.
    pub async fn stop(self) -> Tally {
        let _ = self.stop.send(());
        self.sending.await.expect("no panic")
    }
}

async fn send(
    address: SocketAddr,
    deep: bool,
    period: Duration,
    mut stopped: oneshot::Receiver<()>,
) -> Tally {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new())
        // A failure must be seen.
        .retry_canceled_requests(false)
        .build_http();
    let failures = Arc::new(Mutex::new(Tally::default()));
    let mut open = JoinSet::new();
    let mut ticks = interval(period);
    // What a busy machine delays is sent later: the rate holds on average.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sent, mut late) = (0, Duration::ZERO);
    while stopped.try_recv().is_err() {
        let due = ticks.tick().await;
        late = late.max(due.elapsed());
        sent += 1;
        let (client, failures) = (client.clone(), failures.clone());
        open.spawn(async move {
            let one = ask(client, address, sent, deep);
            let result = timeout(LIMIT, one)
                .await
                .unwrap_or_else(|_| Err("hangs".to_owned()));
            if let Err(failure) = result {
                let mut tally = failures.lock().await;
                tally.failed += 1;
                if tally.failures.len() < 10 {
                    tally.failures.push(format!("request {sent}: {failure}"));
                }
            }
        });
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
    let mut tally = failures.lock().await.clone();
    tally.sent = sent;
    tally.late = late;
    tally
}

async fn ask(
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
    number: usize,
    deep: bool,
) -> Result<(), String> {
    let payload = format!("this is number {number}");
    let (method, path, body, expected) = if number.is_multiple_of(SLOW_EACH) {
        (
            Method::POST,
            "/api/echo",
            Either::Right(slowly(&payload)),
            Some(payload),
        )
    } else if deep && number % DEEP_EACH == 1 {
        (Method::GET, "/", Either::Left(Full::default()), None)
    } else {
        (
            Method::POST,
            "/api/echo",
            Either::Left(Full::from(payload.clone())),
            Some(payload),
        )
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .body(body)
        .map_err(|error| error.to_string())?;
    let response = client
        .request(request)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let code = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    if code != 200 || expected.is_some_and(|expected| body != expected) {
        return Err(format!("{path}: {code} {body:?}"));
    }
    Ok(())
}

/// Half of `payload`, and the rest a moment later.
fn slowly(payload: &str) -> StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>> {
    let (send, receive) = mpsc::channel(2);
    let (first, second) = payload.split_at(payload.len() / 2);
    let [first, second] = [first, second].map(|part| Bytes::copy_from_slice(part.as_bytes()));
    tokio::spawn(async move {
        let _ = send.send(Ok(Frame::data(first))).await;
        sleep(SLOW).await;
        let _ = send.send(Ok(Frame::data(second))).await;
    });
    StreamBody::new(ReceiverStream::new(receive))
}
