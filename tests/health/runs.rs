//! A run is detached: what a caller does, and each way in which a run ends.

use std::{
    error::Error,
    fmt,
    future::pending,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};
use tower_health::{CheckResult, Dependency, Failure, Health, Outcome, Reason, Status};

use super::fixtures::{MS, SECOND, checked, health, up};
use crate::{
    helpers::{gate::Gate, layer_client::LayerClient, switch::Switch},
    support::MAXIMUM_WAIT,
};

/// Over HTTP and without it. A third of the callers disconnect, the one that starts the run among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_make_one_run_however_it_ends() {
    for expected in [
        None,
        Some(Reason::Refused),
        Some(Reason::Panicked),
        Some(Reason::Timeout),
    ] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(50 * MS).await;
                match expected {
                    Some(Reason::Panicked) => panic!("a bug in the check"),
                    Some(Reason::Timeout) => pending().await,
                    Some(reason) => Err(Failure::new(reason)),
                    None => Ok(Outcome::up()),
                }
            }
        };
        // A panic takes long where its backtrace is printed.
        let is_short = expected == Some(Reason::Timeout);
        let limit = if is_short { 200 * MS } else { MAXIMUM_WAIT };
        let dependency = Dependency::new("a", check).timeout(limit);
        let health = Health::builder()
            .add(dependency.cache_for(2 * MAXIMUM_WAIT))
            .answer_within(2 * MAXIMUM_WAIT)
            .build();
        let client = LayerClient::new(&health);
        let _ = timeout(MS, health.report()).await;
        let mut callers = JoinSet::new();
        for number in 0..1_000 {
            let (health, client) = (health.clone(), client.clone());
            callers.spawn(async move {
                match number % 3 {
                    0 => drop(timeout(MS, health.report()).await),
                    1 => assert_eq!(health.report().await.entries[0].reason, expected),
                    _ => assert_eq!(client.code("/health").await == 200, expected.is_none()),
                }
            });
        }
        callers.join_all().await;
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn probers_cost_at_most_one_check_per_period() {
    // Probers, how often each probes, the cache, how long, and the runs: a period is up to a tenth longer.
    for (probers, every, cache, seconds, expected) in [
        (1, SECOND, 900 * MS, 100, 100..=100),
        (200, 50 * MS, 250 * MS, 5, 17..=21),
    ] {
        let switch = Switch::on();
        let health = health(Dependency::new("a", switch.check()).cache_for(cache));
        let end = Instant::now() + seconds * SECOND;
        let mut tasks = JoinSet::new();
        for number in 0..probers {
            let client = LayerClient::new(&health);
            let path = ["/readyz", "/health", "/health/a", "/livez"][number % 4];
            tasks.spawn(async move {
                while Instant::now() < end {
                    assert_eq!(client.code(path).await, 200, "{path}");
                    sleep(every).await;
                }
            });
        }
        tasks.join_all().await;
        assert!(expected.contains(&switch.runs()), "{}", switch.runs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_past_its_timeout_is_down_and_cancelled() {
    let held = Arc::new(());
    let used = held.clone();
    let health = checked(move || {
        let used = used.clone();
        async move {
            pending::<()>().await;
            drop(used);
            Ok(Outcome::up())
        }
    });
    let start = Instant::now();
    let entry = health.report().await.entries.remove(0);
    let found = (entry.status, entry.reason);
    assert_eq!(found, (Status::Down, Some(Reason::Timeout)));
    assert!((800 * MS..900 * MS).contains(&start.elapsed()));
    sleep(MS).await;
    assert_eq!(Arc::strong_count(&held), 2, "only the check itself is left");
}

#[tokio::test(start_paused = true)]
async fn after_the_maximum_wait_the_pending_run_is_reported() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("slow", gate.check()).timeout(5 * SECOND))
        .answer_within(100 * MS)
        .build();
    let report = health.report().await;
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.entries[0].reason, Some(Reason::Pending));
    assert!(report.entries[0].pending_for >= Some(100 * MS));

    gate.pass.add_permits(1);
    sleep(10 * MS).await;
    assert_eq!(health.snapshot().status, Status::Up);
    // The next run is slow, too: the last result counts while it is not far past its lifetime.
    advance(1_500 * MS).await;
    let report = health.report().await;
    assert_eq!(report.status, Status::Up);
    assert!(report.entries[0].pending_for.is_some());
    gate.pass.add_permits(1);
    sleep(10 * MS).await;
    advance(3_600 * SECOND).await;
    assert_eq!(health.report().await.status, Status::Unknown);
}

static HANDLE: OnceLock<Health> = OnceLock::new();

/// An error that may panic when it is displayed, and calls the handle when it is dropped.
#[derive(Debug)]
struct Hostile {
    panics: bool,
}

impl fmt::Display for Hostile {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.panics, "in the error");
        Ok(())
    }
}

impl Error for Hostile {}

impl Drop for Hostile {
    fn drop(&mut self) {
        HANDLE.get().map(Health::snapshot);
    }
}

/// Hangs if an error is dropped under a lock.
#[tokio::test(start_paused = true)]
async fn a_panic_is_a_cached_failure_of_its_check_alone() {
    fn before_the_future() -> std::future::Ready<CheckResult> {
        panic!("before the future")
    }
    let in_the_future = async || -> CheckResult { panic!("in the future") };
    let hostile = |panics| {
        move || async move { Err(Failure::new(Reason::Refused).caused_by(Hostile { panics })) }
    };
    let builder = Health::builder()
        .check("before", before_the_future)
        .check("in", in_the_future)
        .check("error", hostile(true))
        .check("refused", hostile(false))
        .check("healthy", up);
    let health = HANDLE.get_or_init(|| builder.build());
    for failures in [1, 1, 2, 2] {
        let report = health.report().await;
        for entry in &report.entries[..4] {
            let is_refused = &*entry.name == "refused";
            let reason = if is_refused {
                Reason::Refused
            } else {
                Reason::Panicked
            };
            let found = (entry.reason, entry.consecutive_failures);
            assert_eq!(found, (Some(reason), failures), "{}", entry.name);
        }
        assert_eq!(report.entries[4].status, Status::Up);
        advance(SECOND / 2).await;
    }
}
