//! Requests at a steady rate, each of which must succeed, and probes as fast as they are answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, StatusCode, request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use tokio_stream::StreamExt;

use crate::helpers::wire::soon;

const CLIENTS: usize = 10;
/// Of each client: together they send 500 requests a second, or less on a busy machine.
const PERIOD: Duration = Duration::from_millis(20);
/// Every so many requests one uploads slowly, so that some are open at every moment, and with `deep` the
/// next one goes through to the databases.
const SPECIAL_EACH: usize = 25;
const SLOW: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub struct Load {
    is_over: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: usize,
    pub failed: usize,
    /// For the message.
    pub failures: Vec<String>,
}

impl Load {
    /// Sends to `address`. With `deep` some of the requests need the databases.
    pub fn start(address: SocketAddr, deep: bool) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|_| send(address, deep, is_over.clone()));
        Self {
            clients: clients.collect(),
            is_over,
        }
    }

    /// Stops, waits for open requests, and returns the result.
    pub async fn stop(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for tally in self.clients.join_all().await {
            all.sent += tally.sent;
            all.failed += tally.failures.len();
            all.failures.extend(tally.failures.into_iter().take(10));
        }
        all
    }
}

async fn send(address: SocketAddr, deep: bool, is_over: Arc<AtomicBool>) -> Tally {
    let client = Client::new();
    let mut tally = Tally::default();
    let mut ticks = interval(PERIOD);
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        tally.sent += 1;
        let number = tally.sent;
        let echoed = format!("this is number {number}");
        let is_deep = deep && number % SPECIAL_EACH == 1;
        let answer = if is_deep {
            let request = Request::get(format!("http://{address}/"));
            client.send(request, Body::empty()).await
        } else {
            let pause = SLOW * u32::from(number.is_multiple_of(SPECIAL_EACH));
            let request = Request::post(format!("http://{address}/api/echo"));
            client.send(request, upload(&echoed, pause)).await
        };
        match answer {
            Ok((StatusCode::OK, body)) if is_deep || body == echoed => {}
            other => tally.failures.push(format!("request {number}: {other:?}")),
        }
    }
    tally
}

/// `payload` in two parts, with a pause before the second.
fn upload(payload: &str, pause: Duration) -> Body {
    let (first, second) = payload.split_at(payload.len() / 2);
    let parts = [(first, Duration::ZERO), (second, pause)]
        .map(|(part, pause)| (Bytes::copy_from_slice(part.as_bytes()), pause));
    Body::from_stream(tokio_stream::iter(parts).then(async |(part, pause)| {
        sleep(pause).await;
        Ok::<_, Infallible>(part)
    }))
}

/// Probers of one instance, each on a connection that it keeps while the server lets it.
#[derive(Debug)]
pub struct Storm {
    probers: JoinSet<Fate>,
    answered: Arc<AtomicUsize>,
}

/// How it ended for one prober.
#[derive(Debug)]
pub struct Fate {
    /// When it first got no answer, because the server had closed.
    pub turned_away: Instant,
}

impl Storm {
    /// Half of the probers ask for liveness, the others for readiness.
    pub fn start(address: SocketAddr, probers: usize) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let paths = ["livez", "readyz"].into_iter().cycle().take(probers);
        let urls = paths.map(|path| format!("http://{address}/{path}"));
        Self {
            probers: urls.map(|url| probe(url, answered.clone())).collect(),
            answered,
        }
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until the server no longer listens.
    pub async fn end(self) -> Vec<Fate> {
        self.probers.join_all().await
    }
}

async fn probe(url: String, answered: Arc<AtomicUsize>) -> Fate {
    let client = Client::new();
    let mut turned_away = None;
    loop {
        match client.send(Request::get(&url), Body::empty()).await {
            Ok((code, _)) => {
                assert!([200, 503].contains(&code.as_u16()), "{url}: {code}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let turned_away = *turned_away.get_or_insert_with(Instant::now);
                if error.is_connect() {
                    return Fate { turned_away };
                }
            }
        }
    }
}

struct Client(legacy::Client<HttpConnector, Body>);

impl Client {
    fn new() -> Self {
        let mut client = legacy::Client::builder(TokioExecutor::new());
        // A failure must be seen.
        Self(client.retry_canceled_requests(false).build_http())
    }

    /// The whole answer, which must not hang.
    async fn send(
        &self,
        request: request::Builder,
        body: Body,
    ) -> Result<(StatusCode, Bytes), legacy::Error> {
        let request = request.body(body).expect("valid");
        soon(async {
            let (head, body) = self.0.request(request).await?.into_parts();
            let body = body.collect().await.expect("a whole body");
            Ok((head.status, body.to_bytes()))
        })
        .await
    }
}
