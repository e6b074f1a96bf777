//! Storms on a real Postgres: whatever state it is in, a crowd costs what one asker costs.
#![cfg(feature = "postgres")]
#![allow(missing_docs)]

use std::{
    convert::Infallible,
    future::{Future, Ready},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use support::{Postgres, wait_until};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Check, Dependency, Failure, Health, HealthLayer, Outcome, Reason, checks,
};

mod support;
mod wire;

/// Of the engine: askers past this many get the last verdict at once.
const MAX_WAITERS: usize = 131_072;
/// Set where a machine that is busy elsewhere must not turn a slow run into a verdict.
const PATIENT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_millis(50);

/// How often a check was run.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicU64>);

impl Runs {
    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// `check`, counted where the engine runs it.
    fn of(&self, check: impl Check) -> impl Check {
        let (runs, check) = (self.clone(), Arc::new(check));
        move || {
            runs.0.fetch_add(1, Ordering::SeqCst);
            let check = check.clone();
            async move { check.check().await }
        }
    }
}

type Inner = fn(Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>>;

/// One asker's whole request, and what it was told: code and body.
type Asker = Pin<Box<dyn Future<Output = (u16, Bytes)> + Send>>;

/// Through the layer, in process, around an app that nobody should reach.
fn ask(health: &Health) -> impl FnMut() -> Asker + use<> {
    let inner: Inner = |_| panic!("a probe reached the app");
    let service = HealthLayer::new(health.clone())
        .details(Access::everybody())
        .layer(service_fn(inner));
    move || {
        let service = service.clone();
        Box::pin(async move {
            let mut request = Request::new(());
            *request.uri_mut() = "/readyz".parse().expect("a path");
            let response = service.oneshot(request).await.expect("answers");
            let code = response.status().as_u16();
            let body = response.into_body().collect().await.expect("answers");
            (code, body.to_bytes())
        })
    }
}

fn polled(asker: &mut Asker) -> Poll<(u16, Bytes)> {
    asker.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// As many askers at once; on a runtime of one thread nothing else runs until all of them wait.
async fn storm(health: &Health, askers: usize, code: u16, word: &str) {
    let mut ask = ask(health);
    let mut waiting: Vec<Asker> = (0..askers).map(|_| ask()).collect();
    for asker in &mut waiting {
        assert!(polled(asker).is_pending(), "{word}: nothing is fresh");
    }
    let first = waiting.remove(0).await;
    assert_eq!(first.0, code, "{word}: {first:?}");
    let body = String::from_utf8_lossy(&first.1);
    assert!(body.contains(word), "{word} in {body}");
    for asker in waiting {
        assert_eq!(asker.await.0, code, "{word}");
    }
}

/// A verdict of now has expired.
async fn expire() {
    sleep(PERIOD.mul_f64(1.2)).await;
}

fn health(check: impl Check, timeout: Duration) -> Health {
    let dependency = Dependency::new("database", check)
        .cache_for(PERIOD)
        .timeout(timeout);
    Health::builder()
        .add(dependency)
        .answer_within(PATIENT)
        .build()
}

const CROWDS: [usize; 2] = [10_000, 100_000];

#[tokio::test]
async fn a_crowd_at_an_expired_verdict_costs_one_run_and_so_does_the_next() {
    let postgres = Postgres::start().await;
    let runs = Runs::default();
    let check = runs.of(checks::postgres(postgres.pool(2)).within(PATIENT));
    let health = health(check, PATIENT);
    for (number, askers) in (1..).zip(CROWDS) {
        storm(&health, askers, 200, r#""status":"up""#).await;
        assert_eq!(runs.count(), number, "{askers} askers");
        expire().await;
    }
}

#[tokio::test]
async fn a_crowd_at_a_failing_dependency_costs_one_run() {
    let mut postgres = Postgres::start().await;
    let runs = Runs::default();
    let check = runs.of(checks::postgres(postgres.pool(2)).within(Duration::from_secs(6)));
    let health = health(check, PATIENT);
    storm(&health, 1, 200, "up").await;
    postgres.kill();
    for (number, askers) in (2..).zip(CROWDS) {
        expire().await;
        storm(&health, askers, 503, r#""reason":"refused""#).await;
        assert_eq!(runs.count(), number, "{askers} askers");
    }
}

#[tokio::test]
async fn a_crowd_at_a_hanging_dependency_costs_one_run() {
    let postgres = Postgres::start().await;
    let runs = Runs::default();
    let pool = postgres.pool(2);
    // No deadline of its own: the engine's has to end it.
    let check = runs.of(move || {
        let pool = pool.clone();
        async move {
            let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
            connection.batch_execute("SELECT 1").await?;
            Ok(Outcome::up())
        }
    });
    let health = health(check, Duration::from_secs(2));
    storm(&health, 1, 200, "up").await;
    postgres.freeze();
    for (number, askers) in (2..).zip(CROWDS) {
        expire().await;
        storm(&health, askers, 503, r#""reason":"timeout""#).await;
        assert_eq!(runs.count(), number, "{askers} askers");
    }
}

#[tokio::test]
async fn a_crowd_at_a_panicking_check_costs_one_run() {
    let postgres = Postgres::start().await;
    let runs = Runs::default();
    let (pool, panics) = (postgres.pool(2), Arc::new(AtomicBool::new(false)));
    let switch = panics.clone();
    let check = runs.of(move || {
        let (pool, panics) = (pool.clone(), panics.clone());
        async move {
            let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
            connection.batch_execute("SELECT 1").await?;
            assert!(!panics.load(Ordering::SeqCst), "as it was told to");
            Ok(Outcome::up())
        }
    });
    let health = health(check, PATIENT);
    storm(&health, 1, 200, "up").await;
    switch.store(true, Ordering::SeqCst);
    for (number, askers) in (2..).zip(CROWDS) {
        expire().await;
        storm(&health, askers, 503, r#""reason":"panicked""#).await;
        assert_eq!(runs.count(), number, "{askers} askers");
    }
    // The next run is not the panicked one's heir.
    switch.store(false, Ordering::SeqCst);
    expire().await;
    storm(&health, 1, 200, "up").await;
}

/// A check that answers when `gate` on the server is opened, and the handle on it.
fn gated(postgres: &Postgres, runs: &Runs) -> Health {
    let pool = postgres.pool(2);
    let check = runs.of(move || {
        let pool = pool.clone();
        async move {
            let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
            connection
                .batch_execute("SELECT pg_advisory_xact_lock_shared(1)")
                .await?;
            Ok(Outcome::up())
        }
    });
    let dependency = Dependency::new("database", check)
        .cache_for(PATIENT)
        .timeout(PATIENT);
    Health::builder()
        .add(dependency)
        .answer_within(PATIENT)
        .build()
}

async fn serve(health: &Health) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let layer = HealthLayer::new(health.clone());
    let app = Router::new().route("/", get(async || "index")).layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn a_prober_that_gives_up_twenty_times_costs_one_run_and_is_answered_from_it() {
    let postgres = Postgres::start().await;
    let gate = postgres.client().await;
    let runs = Runs::default();
    let health = gated(&postgres, &runs);
    let address = serve(&health).await;

    gate.batch_execute("SELECT pg_advisory_lock(1)")
        .await
        .expect("locks");
    for _ in 0..20 {
        let impatient = wire::get(address, "/readyz");
        let answer = timeout(Duration::from_millis(20), impatient).await;
        assert!(answer.is_err(), "the gate is closed: {answer:?}");
    }
    wait_until("the run has begun", SOON, async || runs.count() == 1).await;
    gate.batch_execute("SELECT pg_advisory_unlock(1)")
        .await
        .expect("unlocks");
    wait_until("it has ended", SOON, async || {
        health.snapshot().entries[0].duration.is_some()
    })
    .await;
    let answer = wire::get(address, "/readyz").await;
    assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn past_the_limit_of_waiters_the_last_verdict_is_the_answer_at_once() {
    let postgres = Postgres::start().await;
    let gate = postgres.client().await;
    let runs = Runs::default();
    let pool = postgres.pool(2);
    let check = runs.of(move || {
        let pool = pool.clone();
        async move {
            let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
            connection
                .batch_execute("SELECT pg_advisory_xact_lock_shared(1)")
                .await?;
            Ok(Outcome::up())
        }
    });
    let health = health(check, PATIENT);
    let mut ask = ask(&health);
    assert_eq!(ask().await.0, 200);
    gate.batch_execute("SELECT pg_advisory_lock(1)")
        .await
        .expect("locks");
    expire().await;

    let mut waiting: Vec<Asker> = (0..MAX_WAITERS).map(|_| ask()).collect();
    for asker in &mut waiting {
        assert!(polled(asker).is_pending());
    }
    for _ in 0..10 {
        let Poll::Ready((code, body)) = polled(&mut ask()) else {
            panic!("one more asker waits")
        };
        let body = String::from_utf8_lossy(&body);
        assert_eq!(code, 200, "{body}");
        assert!(body.contains("pending_for_ms"), "{body}");
    }
    // Whoever gives up makes room.
    waiting.pop();
    let mut next = ask();
    assert!(polled(&mut next).is_pending());
    waiting.push(next);

    gate.batch_execute("SELECT pg_advisory_unlock(1)")
        .await
        .expect("unlocks");
    for asker in waiting {
        assert_eq!(asker.await.0, 200);
    }
    assert_eq!(runs.count(), 2);
}
