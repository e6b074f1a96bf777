//! What any number of callers costs the dependencies, counted at the servers.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_health::{Check, Dependency, Failure, Health, Outcome, Reason, checks};

use super::fixtures::{MS, SECOND};
use crate::{
    helpers::{layer_client::LayerClient, switch::Switch},
    support::{MAXIMUM_WAIT, Postgres, wait_until},
};

/// Of a run: longer than one takes on a busy machine, and not longer, as runs that fail may use it up.
const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn hundreds_of_probers_cost_one_check_per_period() {
    let switch = Switch::on();
    let period = 250 * MS;
    let dependency = Dependency::new("a", switch.check()).cache_for(period);
    let health = Health::builder().add(dependency).build();
    let end = Instant::now() + 5 * SECOND;
    let mut probers = JoinSet::new();
    for number in 0..200 {
        let client = LayerClient::new(&health);
        let path = ["/readyz", "/health", "/health/a", "/livez"][number % 4];
        probers.spawn(async move {
            while Instant::now() < end {
                assert_eq!(client.code(path).await, 200, "{path}");
                sleep(50 * MS).await;
            }
        });
    }
    probers.join_all().await;
    // One at once, then one in each period that began: a period is up to a tenth longer.
    assert!((17..=21).contains(&switch.runs()), "{}", switch.runs());
}

type Caller<T> = Pin<Box<dyn Future<Output = T>>>;

fn poll<T>(caller: &mut Caller<T>) -> Poll<T> {
    let mut cx = Context::from_waker(Waker::noop());
    caller.as_mut().poll(&mut cx)
}

/// A thousand callers at once once the last result has expired; half of them disconnect.
///
/// On a runtime of one thread nothing else runs before all of them wait.
async fn crowd(health: &Health, code: u16, part: &str) {
    sleep(PERIOD.mul_f64(1.2)).await;
    let client = LayerClient::new(health);
    let mut callers = Vec::new();
    for _ in 0..1_000 {
        let client = client.clone();
        let mut caller: Caller<_> = Box::pin(async move { client.get("/readyz").await });
        assert!(poll(&mut caller).is_pending(), "{part}: the result expired");
        callers.push(caller);
    }
    let mut stays = false;
    callers.retain(|_| {
        stays = !stays;
        stays
    });
    for caller in callers {
        let (found, body) = caller.await;
        assert_eq!(found, code, "{body}");
        assert!(body.contains(part), "{part} in {body}");
    }
}

const PERIOD: Duration = Duration::from_millis(50);

fn health(check: impl Check) -> Health {
    let dependency = Dependency::new("database", check).cache_for(PERIOD);
    Health::builder()
        .add(dependency.timeout(TIMEOUT))
        .answer_within(MAXIMUM_WAIT)
        .build()
}

/// How many runs have reached the server: each takes one connection from its pool, which tests it
/// with an empty statement.
fn runs_at(postgres: &Postgres) -> usize {
    let log = postgres.log();
    let tests = |line: &&str| line.trim_end().ends_with("LOG:  statement:");
    log.lines().filter(tests).count()
}

#[tokio::test]
async fn a_crowd_costs_one_run_whatever_state_the_server_is_in() {
    let up = r#""status":"up""#;
    let mut postgres = Postgres::builder()
        .setting("log_statement", "all")
        .start()
        .await;
    let checked = health(checks::postgres(postgres.pool(2)));
    let (pool, panics) = (postgres.pool(2), Arc::new(AtomicBool::new(false)));
    let switch = panics.clone();
    // Without a deadline: the run's timeout has to end it.
    let query = move || {
        let (pool, panics) = (pool.clone(), panics.clone());
        async move {
            let connection = pool.get().await.map_err(|_| Failure::new(Reason::Failed))?;
            connection.batch_execute("SELECT 1").await?;
            assert!(!panics.load(Ordering::SeqCst), "a bug in the check");
            Ok(Outcome::up())
        }
    };
    let queried = health(query);
    let failing_twice = async |health: &Health, part: &str| {
        for runs in 1..=2 {
            crowd(health, 503, part).await;
            let entry = health.snapshot().entries.remove(0);
            assert_eq!(entry.consecutive_failures, runs, "{part}");
        }
    };
    // The first crowd finds no result at all, the second an expired one.
    crowd(&checked, 200, up).await;
    crowd(&checked, 200, up).await;
    assert_eq!(runs_at(&postgres), 2);
    postgres.kill();
    failing_twice(&checked, r#""reason":"refused""#).await;
    // No run of the crowds is left to reach the server when it returns.
    postgres.restart().await;
    crowd(&checked, 200, up).await;
    crowd(&queried, 200, up).await;
    assert_eq!(runs_at(&postgres), 4);
    switch.store(true, Ordering::SeqCst);
    failing_twice(&queried, r#""reason":"panicked""#).await;
    switch.store(false, Ordering::SeqCst);
    crowd(&queried, 200, up).await;
    assert_eq!(runs_at(&postgres), 7);
    postgres.freeze();
    failing_twice(&queried, r#""reason":"timeout""#).await;
    postgres.thaw();
    crowd(&queried, 200, up).await;
    // What was sent meanwhile, other server processes read, which may take them longer.
    wait_until("it has read all", MAXIMUM_WAIT, async || {
        runs_at(&postgres) >= 10
    })
    .await;
    assert_eq!(runs_at(&postgres), 10);
}
