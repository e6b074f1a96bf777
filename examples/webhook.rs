//! Posts each transition of a dependency to a webhook, as an on-call system takes it.
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//! | `WEBHOOK_URL` | | where it posts to, over plain HTTP |
//! | `TARGET` | `127.0.0.1:5432` | the dependency: something listens there, or not |
#![allow(missing_docs)]

use std::{env, error::Error, fmt::Display, time::Duration};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use tower_health::{Health, HealthLayer, Outcome, Transition, Transitions};

/// A receiver that restarts is back within these: 0.2 + 0.4 + 0.8 + 1.6 s.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// For one attempt.
const PATIENCE: Duration = Duration::from_secs(2);

type Poster = Client<HttpConnector, Full<Bytes>>;

/// Ends with the last handle. A receiver that is slow or gone costs transitions that a later one of the
/// same dependency follows, and nothing else: the feed is bounded and keeps the last.
async fn publish(mut transitions: Transitions, url: Uri) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    while let Some(transition) = transitions.recv().await {
        if let Err(Refusal { why, .. }) = deliver(&client, &url, &transition).await {
            eprintln!("webhook: {} is lost: {why}", transition.name);
        }
    }
}

/// At least once: when only the answer got lost, it is posted again.
async fn deliver(client: &Poster, url: &Uri, transition: &Transition) -> Result<(), Refusal> {
    let body = Bytes::from(serde_json::to_vec(transition).map_err(Refusal::for_good)?);
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match post(client, url, body.clone()).await {
            Err(refusal) if refusal.may_pass => sleep(pause).await,
            end => return end,
        }
        pause *= 2;
    }
    post(client, url, body).await
}

async fn post(client: &Poster, url: &Uri, body: Bytes) -> Result<(), Refusal> {
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(Refusal::for_good)?;
    let code = match timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(response)) => response.status(),
        Ok(Err(error)) => return Err(Refusal::for_now(error)),
        Err(elapsed) => return Err(Refusal::for_now(elapsed)),
    };
    match code {
        _ if code.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Refusal::for_now(code)),
        _ if code.is_server_error() => Err(Refusal::for_now(code)),
        _ => Err(Refusal::for_good(code)),
    }
}

struct Refusal {
    why: String,
    may_pass: bool,
}

impl Refusal {
    fn for_now(why: impl Display) -> Self {
        let (why, may_pass) = (why.to_string(), true);
        Self { why, may_pass }
    }

    fn for_good(why: impl Display) -> Self {
        let may_pass = false;
        Self {
            may_pass,
            ..Self::for_now(why)
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = env::var("WEBHOOK_URL").map_err(|_| "WEBHOOK_URL is missing: where to post to")?;
    // Not the URL itself: it may hold a token.
    let url: Uri = url
        .parse()
        .map_err(|error| format!("WEBHOOK_URL: {error}"))?;
    let target = variable("TARGET", "127.0.0.1:5432");
    let mut terminate = signal(SignalKind::terminate())?;

    let check = move || {
        let connected = TcpStream::connect(target.clone());
        async { Ok(connected.await.map(|_| Outcome::up())?) }
    };
    let health = Health::builder()
        .check("target", check)
        // An outage is told though nobody asks.
        .refresh_every(Duration::from_secs(1))
        .build();
    let publisher = tokio::spawn(publish(health.subscribe(), url));

    let listener = TcpListener::bind(variable("ADDR", "127.0.0.1:3000")).await?;
    println!("http://{}/readyz", listener.local_addr()?);
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(HealthLayer::new(health));
    // The last handle goes with the server, and that ends the publisher.
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    // What is still to be told gets a moment.
    let _ = timeout(Duration::from_secs(1), publisher).await;
    Ok(())
}
