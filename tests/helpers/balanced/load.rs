//! Requests at a steady rate, each of which must succeed.

use std::{convert::Infallible, env, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::LIMIT;

/// Every so many requests one uploads slowly, so that some are open at every moment, and with `deep` the
/// next one goes through to the databases.
const SPECIAL_EACH: usize = 25;
const SLOW: Duration = Duration::from_millis(400);

type Body = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

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
    /// For the message.
    pub failures: Vec<String>,
}

impl Load {
    /// Sends to `address`: 500 requests a second, or as many as `TOWER_HEALTH_LOAD` says. With
    /// `deep` some of them need the databases.
    pub fn start(address: SocketAddr, deep: bool) -> Self {
        let rate: f64 = env::var("TOWER_HEALTH_LOAD").ok().map_or(500.0, |rate| {
            rate.parse().expect("a number of requests a second")
        });
        let period = Duration::from_secs_f64(1.0 / rate);
        let (stop, stopped) = oneshot::channel();
        let sending = tokio::spawn(send(address, deep, period, stopped));
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
    let mut open = JoinSet::new();
    let mut tally = Tally::default();
    let mut ticks = interval(period);
    // What a busy machine delays is sent later: the rate holds on average.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while stopped.try_recv().is_err() {
        let due = ticks.tick().await;
        tally.late = tally.late.max(due.elapsed());
        tally.sent += 1;
        let (client, number) = (client.clone(), tally.sent);
        open.spawn(async move {
            let fault = timeout(LIMIT, fault(client, address, number, deep)).await;
            fault.unwrap_or_else(|_| Some("hangs".to_owned()))
        });
        while let Some(ended) = open.try_join_next() {
            tally.failures.extend(ended.expect("no panic"));
        }
    }
    for fault in open.join_all().await {
        tally.failures.extend(fault);
    }
    tally.failed = tally.failures.len();
    tally.failures.truncate(10);
    tally
}

/// What is wrong with the answer to request `number`.
async fn fault(
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
    number: usize,
    deep: bool,
) -> Option<String> {
    let echoed = format!("this is number {number}");
    let is_deep = deep && number % SPECIAL_EACH == 1;
    let request = if is_deep {
        Request::get(format!("http://{address}/")).body(body("", false))
    } else {
        let is_slow = number.is_multiple_of(SPECIAL_EACH);
        Request::post(format!("http://{address}/api/echo")).body(body(&echoed, is_slow))
    };
    let answer = async {
        let (head, body) = client.request(request.expect("valid")).await?.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        Ok::<_, hyper_util::client::legacy::Error>((head.status, body))
    };
    match answer.await {
        Ok((code, Ok(body))) if code == 200 && (is_deep || body == echoed) => None,
        other => Some(format!("request {number}: {other:?}")),
    }
}

/// `payload` in two parts, the second of them a moment later if it `is_slow`.
fn body(payload: &str, is_slow: bool) -> Body {
    let (send, receive) = mpsc::channel(2);
    let (first, second) = payload.split_at(payload.len() / 2);
    let [first, second] = [first, second].map(|part| Bytes::copy_from_slice(part.as_bytes()));
    tokio::spawn(async move {
        let _ = send.send(Ok(Frame::data(first))).await;
        if is_slow {
            sleep(SLOW).await;
        }
        let _ = send.send(Ok(Frame::data(second))).await;
    });
    StreamBody::new(ReceiverStream::new(receive))
}
