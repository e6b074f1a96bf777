//! Posts each transition of a dependency to a webhook, for example of a paging system.
//!
//! ```sh
//! WEBHOOK_URL=http://127.0.0.1:8080/hook cargo run --example webhook --features axum,signal,tracing
//! ```
//!
//! | variable | default | |
//! |---|---|---|
//! | `ADDR` | `127.0.0.1:3000` | where it listens |
//! | `WEBHOOK_URL` | none: it is required | where it posts to, over plain HTTP |
//! | `TARGET` | `127.0.0.1:5432` | the dependency: it is up if a connect succeeds |
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
    time::{sleep, timeout},
};
use tower_health::{
    Health, HealthLayer, Outcome,
    health::{Transition, Transitions},
};

/// A receiver may restart meanwhile: the pauses are 0.2, 0.4, 0.8 and 1.6 s.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The limit of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than load balancers need to notice; 5 s fit a Kubernetes service.
const DRAIN: Duration = Duration::from_secs(1);

type Poster = Client<HttpConnector, Full<Bytes>>;

/// Posts each transition until the last handle is dropped. While it subscribes, the checks run without probes.
///
/// If the receiver is slow or down, older transitions are lost; the last one of each dependency is kept.
async fn publish(mut transitions: Transitions, url: Uri) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    while let Some(transition) = transitions.recv().await {
        if let Err(PostError { message, .. }) = deliver(&client, &url, &transition).await {
            eprintln!(
                "webhook: a transition of {} is lost: {message}",
                transition.name
            );
        }
    }
}

/// Posts at least once: if only the response is lost, the transition is posted again.
async fn deliver(client: &Poster, url: &Uri, transition: &Transition) -> Result<(), PostError> {
    let body = Bytes::from(serde_json::to_vec(transition).map_err(PostError::permanent)?);
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match post(client, url, body.clone()).await {
            Err(error) if error.is_temporary => sleep(pause).await,
            end => return end,
        }
        pause *= 2;
    }
    post(client, url, body).await
}

async fn post(client: &Poster, url: &Uri, body: Bytes) -> Result<(), PostError> {
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(PostError::permanent)?;
    let code = match timeout(ATTEMPT_TIMEOUT, client.request(request)).await {
        Ok(Ok(response)) => response.status(),
        Ok(Err(error)) => return Err(PostError::temporary(error)),
        Err(elapsed) => return Err(PostError::temporary(elapsed)),
    };
    match code {
        _ if code.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(PostError::temporary(code))
        }
        _ if code.is_server_error() => Err(PostError::temporary(code)),
        _ => Err(PostError::permanent(code)),
    }
}

struct PostError {
    message: String,
    is_temporary: bool,
}

impl PostError {
    fn temporary(message: impl Display) -> Self {
        let (message, is_temporary) = (message.to_string(), true);
        Self {
            message,
            is_temporary,
        }
    }

    fn permanent(message: impl Display) -> Self {
        let is_temporary = false;
        Self {
            is_temporary,
            ..Self::temporary(message)
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = env::var("WEBHOOK_URL").map_err(|_| "WEBHOOK_URL is not set")?;
    // Not the URL itself: it may hold a token.
    let url: Uri = url
        .parse()
        .map_err(|error| format!("WEBHOOK_URL: {error}"))?;
    let target = variable("TARGET", "127.0.0.1:5432");

    let check = move || {
        let connected = TcpStream::connect(target.clone());
        async { Ok(connected.await.map(|_| Outcome::up())?) }
    };
    let health = Health::builder().check("target", check).build();
    let publisher = tokio::spawn(publish(health.subscribe(), url));

    let listener = TcpListener::bind(variable("ADDR", "127.0.0.1:3000")).await?;
    println!("http://{}/readyz", listener.local_addr()?);
    let draining = health.drain_on_shutdown_signal(DRAIN);
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(HealthLayer::new(health));
    // The last handle is dropped with the server, which ends the publisher.
    axum::serve(listener, app)
        .with_graceful_shutdown(draining)
        .await?;
    // The last transitions get a second.
    let _ = timeout(Duration::from_secs(1), publisher).await;
    Ok(())
}
