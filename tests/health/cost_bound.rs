//! What any number of probers costs the dependencies, counted where it arrives: at the servers.

use crate::helpers::wire;
use std::{
    convert::Infallible,
    future::{Future, Ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use crate::helpers::wire::Wire;
use crate::support::{Postgres, Proxy, Redis, wait_until};
use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Outcome, Reason, checks};

/// Set where a machine that is busy elsewhere must not turn a slow run into a verdict.
const PATIENT: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(30);
/// Far more than scheduling takes on a busy machine, and far less than a probe that is lost.
const SCHEDULING: Duration = Duration::from_secs(3);

type Inner = fn(Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>>;

/// The layer in process, around a service that nobody should reach.
fn in_process(
    health: &Health,
) -> impl Service<Request<()>, Response = Response<impl Sized + Send>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let inner: Inner = |_| panic!("a probe reached the app");
    HealthLayer::new(health.clone()).layer(service_fn(inner))
}

async fn serve(health: &Health) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let layer = HealthLayer::new(health.clone()).details(Access::everybody());
    let app = Router::new().route("/", get(async || "index")).layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn probe(path: &'static str) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = path.parse().expect("a path");
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_thousand_probers_cost_one_check_per_period() {
    const PERIOD: Duration = Duration::from_secs(1);
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    // The check of a healthy pool is an empty query, which no statistics of Postgres see.
    let proxy = Proxy::start(postgres.port()).await;
    let (pg_pool, redis_pool) = (postgres.pool_through(proxy.port(), 4), redis.pool(4));
    let dependency = |dependency: Dependency| dependency.cache_for(PERIOD).timeout(PATIENT);
    let postgres_check = checks::postgres(pg_pool.clone());
    let redis_check = checks::redis(redis_pool.clone());
    let health = Health::builder()
        .add(dependency(Dependency::new("database", postgres_check)))
        .add(dependency(Dependency::new("cache", redis_check)))
        .answer_within(PATIENT)
        .build();
    // Connected and logged in: what is counted from here on are checks.
    drop(pg_pool.get().await.expect("a connection"));
    drop(redis_pool.get().await.expect("a connection"));
    let address = serve(&health).await;
    let before = (proxy.round_trips(), redis.command_calls("ping").await);

    let started = Instant::now();
    let end = started + Duration::from_secs(5);
    let slowest = Arc::new(AtomicU64::new(0));
    let answered = Arc::new(AtomicU64::new(0));
    let note = {
        let (slowest, answered) = (slowest.clone(), answered.clone());
        move |asked: Instant| {
            let micros = u64::try_from(asked.elapsed().as_micros()).expect("small");
            slowest.fetch_max(micros, Ordering::Relaxed);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut probers = JoinSet::new();
    let service = in_process(&health);
    for number in 0..2_000 {
        let (service, note) = (service.clone(), note.clone());
        let path = ["/readyz", "/health", "/startupz", "/livez"][number % 4];
        probers.spawn(async move {
            while Instant::now() < end {
                let asked = Instant::now();
                let response = service.clone().oneshot(probe(path)).await;
                assert_eq!(response.expect("answers").status(), 200);
                note(asked);
                // So that two thousand leave the machine something to breathe.
                sleep(Duration::from_millis(50)).await;
            }
        });
    }
    for number in 0..100 {
        let note = note.clone();
        let path = ["/readyz", "/health", "/health/database", "/readyz/cache"][number % 4];
        probers.spawn(async move {
            let mut wire = Wire::connect(address).await;
            while Instant::now() < end {
                let asked = Instant::now();
                assert_eq!(wire.get(path).await.code, 200, "{path}");
                note(asked);
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    while let Some(ended) = probers.join_next().await {
        ended.expect("no prober fails");
    }
    let took = started.elapsed();

    // One at once, then one in each period begun: seven in five seconds and a bit.
    let most = 2 + took.as_secs();
    let postgres_checks = proxy.round_trips() - before.0;
    let redis_checks = redis.command_calls("ping").await - before.1;
    let slowest = Duration::from_micros(slowest.load(Ordering::Relaxed));
    println!(
        "{} probes in {took:?}: {postgres_checks} checks of Postgres, {redis_checks} of Redis, slowest probe {slowest:?}",
        answered.load(Ordering::Relaxed),
    );
    for checks in [postgres_checks, redis_checks] {
        assert!((1..=most).contains(&checks), "{checks} of {most} at most");
    }
    assert!(slowest < SCHEDULING, "{slowest:?}");
    assert_eq!(proxy.connections(), u64::from(pg_pool.state().connections));
}

#[tokio::test]
async fn ten_thousand_callers_of_whom_half_hang_up_cost_one_run() {
    const PERIOD: Duration = Duration::from_secs(3);
    let postgres = Postgres::builder()
        .preload("pg_stat_statements")
        .start()
        .await;
    let client = postgres.client().await;
    client
        .batch_execute("CREATE EXTENSION pg_stat_statements")
        .await
        .expect("the extension is there");
    let runs = async || -> i64 {
        client
            .query_one(
                "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements \
                 WHERE query LIKE 'SELECT pg_sleep%'",
                &[],
            )
            .await
            .expect("statistics")
            .get(0)
    };
    let pool = postgres.pool(4);
    let check = move || {
        let pool = pool.clone();
        async move {
            let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
            connection.batch_execute("SELECT pg_sleep(0.05)").await?;
            Ok(Outcome::up())
        }
    };
    let health = Health::builder()
        .add(
            Dependency::new("database", check)
                .cache_for(PERIOD)
                .timeout(PATIENT),
        )
        .answer_within(PATIENT)
        .build();
    let service = in_process(&health);

    let first = service.clone().oneshot(probe("/readyz")).await;
    assert_eq!(first.expect("answers").status(), 200);
    assert_eq!(runs().await, 1);
    // Jitter lengthens it by a tenth at most, from the start of the run.
    sleep_until(Instant::now() + PERIOD.mul_f64(1.1)).await;

    // All ask before the run can end: nothing else runs on this thread meanwhile.
    let mut callers = Vec::new();
    for _ in 0..10_000 {
        let mut caller = Box::pin(service.clone().oneshot(probe("/readyz")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(caller.as_mut().poll(&mut cx).is_pending());
        callers.push(caller);
    }
    // Every second one hangs up.
    let mut number = 0;
    callers.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    let asked = Instant::now();
    let mut waiting = JoinSet::new();
    for caller in callers {
        waiting.spawn(async move {
            assert_eq!(caller.await.expect("answers").status(), 200);
            asked.elapsed()
        });
    }
    let mut waits = Vec::new();
    while let Some(ended) = waiting.join_next().await {
        waits.push(ended.expect("no caller fails"));
    }
    waits.sort();
    println!(
        "median wait {:?}, longest {:?}",
        waits[waits.len() / 2],
        waits[waits.len() - 1]
    );
    assert_eq!(waits.len(), 5_000);
    assert!(waits[waits.len() - 1] < SCHEDULING);
    assert_eq!(runs().await, 2, "the first one, and one for all of these");
}

#[tokio::test]
async fn up_down_and_frozen_are_reported_over_http() {
    let (mut postgres, mut redis) = tokio::join!(Postgres::start(), Redis::start());
    let period = Duration::from_millis(50);
    let health = Health::builder()
        .add(Dependency::new("database", checks::postgres(postgres.pool(2))).cache_for(period))
        .add(
            Dependency::new("cache", checks::redis(redis.pool(2)))
                .cache_for(period)
                .optional(),
        )
        .build();
    let address = serve(&health).await;
    let tells = async |what: &str, path: &str, code: u16, part: &str| {
        wait_until(what, SOON, async || {
            let answer = wire::get(address, path).await;
            assert!([200, 503].contains(&answer.code), "{answer:?}");
            answer.code == code && answer.body.contains(part)
        })
        .await;
    };
    let up = r#"{"status":"up""#;
    tells("both are up", "/readyz", 200, up).await;

    postgres.freeze();
    tells("frozen", "/readyz/database", 503, r#""status":"down""#).await;
    tells("frozen", "/readyz", 503, r#""reason":"timeout""#).await;
    tells("alive all the same", "/livez", 200, up).await;
    tells("started once", "/startupz", 200, up).await;
    tells("the other is well", "/readyz/cache", 200, up).await;
    postgres.thaw();
    tells("thawed", "/readyz", 200, up).await;

    postgres.kill();
    tells("killed", "/readyz", 503, r#""reason":"refused""#).await;
    postgres.restart().await;
    tells("restarted", "/readyz", 200, up).await;

    let degraded = r#"{"status":"degraded""#;
    redis.freeze();
    tells("frozen", "/readyz/cache", 503, r#""reason":"timeout""#).await;
    tells("optional", "/readyz", 200, degraded).await;
    redis.thaw();
    tells("thawed", "/readyz", 200, up).await;
    redis.kill();
    tells("killed", "/readyz/cache", 503, r#""reason":"refused""#).await;
    tells("optional", "/readyz", 200, degraded).await;
    redis.restart().await;
    tells("restarted", "/readyz", 200, up).await;
}
