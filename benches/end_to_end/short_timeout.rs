//! A prober that gives up before the dependency answers, over and over: what it costs, and when it is answered.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use http::header;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tower_health::{Dependency, Health, HealthLayer, Outcome};

use super::support::contestants::{PROBE, UP};

/// How long the dependency takes, and how long the prober waits.
const RUN: Duration = Duration::from_millis(300);
const MAXIMUM_WAIT: Duration = Duration::from_millis(50);
const PROBES: usize = 20;

/// The common hand-written handler: the last answer in a `Mutex`, held while a new one is made.
pub(super) fn mutex_cached(cache_for: Duration, run: Duration) -> Router {
    mutex_cached_counted(cache_for, run, Arc::default())
}

fn mutex_cached_counted(cache_for: Duration, run: Duration, runs: Arc<AtomicUsize>) -> Router {
    let last = Arc::new(Mutex::new(None::<Instant>));
    let handler = move || {
        let (last, runs) = (last.clone(), runs.clone());
        async move {
            let mut last = last.lock().await;
            if last.is_none_or(|when| when.elapsed() >= cache_for) {
                runs.fetch_add(1, Ordering::Relaxed);
                if !run.is_zero() {
                    sleep(run).await;
                }
                *last = Some(Instant::now());
            }
            let headers = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, UP)
        }
    };
    Router::new().route("/readyz", get(handler))
}

fn ours(runs: Arc<AtomicUsize>) -> Router {
    let check = move || {
        runs.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(RUN).await;
            Ok(Outcome::up())
        }
    };
    let dependency = Dependency::new("database", check).cache_for(Duration::from_secs(60));
    let health = Health::builder().add(dependency).build();
    Router::new()
        .route("/", get(async || ""))
        .layer(HealthLayer::new(health))
}

/// Prints what it takes with each of the two.
pub(super) fn compare() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "\n| a run takes {} ms, the prober gives up after {} ms, {PROBES} times | runs | answered |",
        RUN.as_millis(),
        MAXIMUM_WAIT.as_millis()
    );
    println!("|---|---:|---:|");
    runtime.block_on(async {
        let runs = Arc::new(AtomicUsize::new(0));
        let app = mutex_cached_counted(Duration::from_secs(60), RUN, runs.clone());
        row("axum, cached in a `Mutex`", app, &runs).await;
        let runs = Arc::new(AtomicUsize::new(0));
        row("our cached probe", ours(runs.clone()), &runs).await;
    });
}

async fn row(name: &str, app: Router, runs: &AtomicUsize) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("binds");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut answered = 0;
    for _ in 0..PROBES {
        answered += usize::from(timeout(MAXIMUM_WAIT, probe(address)).await.is_ok());
    }
    server.abort();
    let runs = runs.load(Ordering::Relaxed);
    println!("| {name} | {runs} | {answered} of {PROBES} |");
}

/// On a new connection, as a kubelet probes.
async fn probe(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(PROBE).await.expect("sends");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
}
