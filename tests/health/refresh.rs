//! Runs in the background: callers never wait, and a dead refresher cannot lie.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep},
};
use tower_health::{Dependency, Health, HealthBuilder, Outcome, Probe, Reason, Status};

const SECOND: Duration = Duration::from_secs(1);

/// A check that takes 300 ms, and the count of its runs.
fn slow() -> (Arc<AtomicUsize>, HealthBuilder) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let check = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(Duration::from_millis(300)).await;
            Ok(Outcome::up())
        }
    };
    (runs, Health::builder().add(Dependency::new("slow", check)))
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_and_runs_keep_their_period() {
    let (runs, builder) = slow();
    let health = builder.refresh_every(10 * SECOND).build();
    let start = Instant::now();
    let first = health.report_for(&Probe::Readiness).await;
    assert_eq!(
        (first.status, start.elapsed()),
        (Status::Unknown, Duration::ZERO)
    );
    sleep(SECOND).await;
    for _ in 0..1_000 {
        let before = Instant::now();
        assert_eq!(health.report().await.status, Status::Up);
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(100)).await;
    }
    // 101 s: the first caller's run, and one each 10 to 11 s.
    assert!((9..=12).contains(&runs.load(Ordering::SeqCst)), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn the_longer_of_refresh_and_cache_is_the_period() {
    // Refresh, own cache, and how many runs there may be in 600 s.
    for (refresh, cache, runs_in) in [
        (1, Some(60), 9..=12),
        (60, Some(1), 9..=12),
        (60, None, 9..=12),
        (1, None, 500..=610),
    ] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(Outcome::up()) }
        };
        let mut dependency = Dependency::new("a", check);
        if let Some(cache) = cache {
            dependency = dependency.cache_for(cache * SECOND);
        }
        let health = Health::builder()
            .add(dependency)
            .refresh_every(refresh * SECOND)
            .build();
        sleep(70 * SECOND).await;
        for _ in 0..600 {
            sleep(SECOND).await;
            assert_eq!(health.report().await.status, Status::Up);
        }
        let counted = runs.load(Ordering::SeqCst);
        let lead = if refresh == 1 && cache.is_none() {
            70
        } else {
            2
        };
        assert!(
            runs_in.contains(&counted) || runs_in.contains(&counted.saturating_sub(lead)),
            "{refresh} {cache:?}: {counted}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn it_runs_though_nobody_asks_and_ends_with_the_last_handle() {
    let (runs, builder) = slow();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let none = tasks();
    let health = builder.refresh_every(SECOND).build();
    sleep(10 * SECOND).await;
    assert!((8..=11).contains(&runs.load(Ordering::SeqCst)), "{runs:?}");
    assert_eq!(health.snapshot().status, Status::Up);
    drop(health.clone());
    assert!(tasks() > none);
    drop(health);
    sleep(SECOND).await;
    assert_eq!(tasks(), none);
    let last = runs.load(Ordering::SeqCst);
    sleep(10 * SECOND).await;
    assert_eq!(runs.load(Ordering::SeqCst), last);
}

#[test]
fn a_verdict_that_nothing_refreshes_is_stale() {
    let (_, builder) = slow();
    let runtime = || {
        Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
    };
    let health = {
        let doomed = runtime().expect("a runtime");
        doomed.block_on(async {
            let health = builder.refresh_every(SECOND).build();
            sleep(5 * SECOND).await;
            assert_eq!(health.report().await.status, Status::Up);
            sleep(Duration::from_millis(1)).await;
            health
        })
    };
    let report = runtime().expect("a runtime").block_on(async {
        tokio::time::advance(60 * SECOND).await;
        health.snapshot()
    });
    assert_eq!(report.status, Status::Down);
    assert_eq!(report.entries[0].reason, Some(Reason::Stale));
}

#[tokio::test(start_paused = true)]
async fn startup_latches_without_a_probe() {
    let health = Health::builder()
        .check("a", async || Ok(Outcome::up()))
        .refresh_every(SECOND)
        .build();
    assert!(!health.is_started());
    sleep(3 * SECOND).await;
    assert!(health.is_started());
}
