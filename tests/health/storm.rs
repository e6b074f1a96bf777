//! Storms on a real Postgres: whatever state it is in, a crowd costs what one caller costs.

use crate::helpers::wire;
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

use crate::support::{Postgres, wait_until};
use axum::{
    Router,
    middleware::{Next, from_fn},
    routing::get,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tokio_postgres::Client;
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{
    Access, Check, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Reason, checks,
};

/// Of the engine: callers past this many get the last verdict at once.
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
        Counted(self.clone(), check)
    }
}

/// Counts each run of the check inside.
struct Counted<C>(Runs, C);

impl<C: Check> Check for Counted<C> {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.1.check()
    }

    fn check_until(&self, deadline: Instant) -> impl Future<Output = CheckResult> + Send {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.1.check_until(deadline)
    }
}

type Inner = fn(Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>>;

/// One caller's whole request, and what it was told: code and body.
type Caller = Pin<Box<dyn Future<Output = (u16, Bytes)> + Send>>;

/// Through the layer, in process, around an app that nobody should reach.
fn ask(health: &Health) -> impl FnMut() -> Caller + use<> {
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

fn polled(caller: &mut Caller) -> Poll<(u16, Bytes)> {
    caller
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// As many callers at once; on a runtime of one thread nothing else runs until all of them wait.
async fn storm(health: &Health, callers: usize, code: u16, word: &str) {
    let mut ask = ask(health);
    let mut waiting: Vec<Caller> = (0..callers).map(|_| ask()).collect();
    for caller in &mut waiting {
        assert!(polled(caller).is_pending(), "{word}: nothing is fresh");
    }
    let first = waiting.remove(0).await;
    assert_eq!(first.0, code, "{word}: {first:?}");
    let body = String::from_utf8_lossy(&first.1);
    assert!(body.contains(word), "{word} in {body}");
    for caller in waiting {
        assert_eq!(caller.await.0, code, "{word}");
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

/// A crowd when nothing is fresh, and one ten times as large; each costs one run.
async fn crowds(health: &Health, runs: &Runs, code: u16, word: &str) {
    for callers in [10_000, 100_000] {
        expire().await;
        let before = runs.count();
        storm(health, callers, code, word).await;
        assert_eq!(runs.count(), before + 1, "{word}: {callers} callers");
    }
}

/// A server that logs what it is told before it does it.
async fn logging() -> Postgres {
    let server = Postgres::builder().setting("log_statement", "all");
    server.start().await
}

/// How many runs have reached the server, by its own log: our counter stands in front of the check.
///
/// Each run takes one connection from the pool, which tests it with an empty statement.
fn seen(postgres: &Postgres) -> u64 {
    let log = postgres.log();
    let tests = |line: &&str| line.trim_end().ends_with("LOG:  statement:");
    log.lines().filter(tests).count() as u64
}

#[tokio::test]
async fn a_crowd_at_an_expired_verdict_costs_one_run_and_so_does_the_next() {
    let postgres = logging().await;
    let runs = Runs::default();
    let check = runs.of(checks::postgres(postgres.pool(2)));
    let health = health(check, PATIENT);
    // The first crowd finds no verdict at all, the second an expired one.
    crowds(&health, &runs, 200, r#""status":"up""#).await;
    assert_eq!((runs.count(), seen(&postgres)), (2, 2));
}

#[tokio::test]
async fn a_crowd_at_a_failing_dependency_costs_one_run() {
    let mut postgres = logging().await;
    let runs = Runs::default();
    let check = runs.of(checks::postgres(postgres.pool(2)));
    let health = health(check, PATIENT);
    storm(&health, 1, 200, "up").await;
    postgres.kill();
    crowds(&health, &runs, 503, r#""reason":"refused""#).await;
    // Nothing of the crowds is left to fall upon the server when it returns.
    postgres.restart().await;
    expire().await;
    storm(&health, 1, 200, "up").await;
    assert_eq!((runs.count(), seen(&postgres)), (4, 2));
}

#[tokio::test]
async fn a_crowd_at_a_hanging_dependency_costs_one_run() {
    let postgres = logging().await;
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
    crowds(&health, &runs, 503, r#""reason":"timeout""#).await;
    postgres.thaw();
    expire().await;
    storm(&health, 1, 200, "up").await;
    // What was sent to it in the meantime others of its processes read, which may take them longer.
    wait_until("it has read all", SOON, async || seen(&postgres) >= 4).await;
    assert_eq!((runs.count(), seen(&postgres)), (4, 4));
}

#[tokio::test]
async fn a_crowd_at_a_panicking_check_costs_one_run() {
    let postgres = logging().await;
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
    crowds(&health, &runs, 503, r#""reason":"panicked""#).await;
    // The next run is not the panicked one's heir.
    switch.store(false, Ordering::SeqCst);
    expire().await;
    storm(&health, 1, 200, "up").await;
    assert_eq!((runs.count(), seen(&postgres)), (4, 4));
}

/// A server with a gate that runs have to pass.
struct Gate {
    postgres: Postgres,
    keeper: Client,
}

impl Gate {
    async fn start() -> Self {
        let postgres = logging().await;
        let keeper = postgres.client().await;
        Self { postgres, keeper }
    }

    async fn close(&self) {
        let sql = "SELECT pg_advisory_lock(1)";
        self.keeper.batch_execute(sql).await.expect("locks");
    }

    async fn open(&self) {
        let sql = "SELECT pg_advisory_unlock(1)";
        self.keeper.batch_execute(sql).await.expect("unlocks");
    }

    /// How many runs stand at the closed gate, as the server says.
    async fn crowd(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        let row = self.keeper.query_one(sql, &[]).await.expect("tells");
        row.get(0)
    }

    /// A check that answers while the gate is open.
    fn check(&self) -> impl Check {
        let pool = self.postgres.pool(2);
        move || {
            let pool = pool.clone();
            async move {
                let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
                connection
                    .batch_execute("SELECT pg_advisory_xact_lock_shared(1)")
                    .await?;
                Ok(Outcome::up())
            }
        }
    }
}

/// What a server was asked over HTTP.
#[derive(Default)]
struct Requests {
    arrived: AtomicU64,
    answered: AtomicU64,
}

async fn serve(health: &Health) -> (SocketAddr, Arc<Requests>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let requests = Arc::new(Requests::default());
    let counts = requests.clone();
    let counting = from_fn(move |request, next: Next| {
        let counts = counts.clone();
        async move {
            counts.arrived.fetch_add(1, Ordering::SeqCst);
            let response = next.run(request).await;
            counts.answered.fetch_add(1, Ordering::SeqCst);
            response
        }
    });
    let layer = HealthLayer::new(health.clone());
    let app = Router::new().route("/", get(async || "index"));
    let app = app.layer(layer).layer(counting);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, requests)
}

#[tokio::test]
async fn a_prober_that_gives_up_twenty_times_costs_one_run_and_is_answered_from_it() {
    let gate = Gate::start().await;
    let runs = Runs::default();
    let dependency = Dependency::new("database", runs.of(gate.check()))
        .cache_for(PATIENT)
        .timeout(PATIENT);
    let health = Health::builder().add(dependency).answer_within(PATIENT);
    let health = health.build();
    let (address, requests) = serve(&health).await;

    gate.close().await;
    for number in 1..=20 {
        let prober = tokio::spawn(wire::get(address, "/readyz"));
        // It gives up when it was heard: how long that takes is the machine's affair.
        wait_until("it has asked", SOON, async || {
            requests.arrived.load(Ordering::SeqCst) == number
        })
        .await;
        prober.abort();
    }
    wait_until("a run is at the gate", SOON, async || {
        gate.crowd().await == 1
    })
    .await;
    assert_eq!(requests.answered.load(Ordering::SeqCst), 0);
    gate.open().await;
    wait_until("it has ended", SOON, async || {
        health.snapshot().entries[0].duration.is_some()
    })
    .await;
    let answer = wire::get(address, "/readyz").await;
    assert_eq!((answer.code, &*answer.body), (200, r#"{"status":"up"}"#));
    assert_eq!((runs.count(), seen(&gate.postgres)), (1, 1));
}

#[tokio::test]
async fn past_the_limit_of_waiters_the_last_verdict_is_the_answer_at_once() {
    let gate = Gate::start().await;
    let runs = Runs::default();
    let health = health(runs.of(gate.check()), PATIENT);
    let mut ask = ask(&health);
    assert_eq!(ask().await.0, 200);
    gate.close().await;
    expire().await;

    let mut waiting: Vec<Caller> = (0..MAX_WAITERS).map(|_| ask()).collect();
    for caller in &mut waiting {
        assert!(polled(caller).is_pending());
    }
    for _ in 0..10 {
        let Poll::Ready((code, body)) = polled(&mut ask()) else {
            panic!("one more caller waits")
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

    wait_until("a run is at the gate", SOON, async || {
        gate.crowd().await == 1
    })
    .await;
    gate.open().await;
    for caller in waiting {
        assert_eq!(caller.await.0, 200);
    }
    assert_eq!((runs.count(), seen(&gate.postgres)), (2, 2));
}
