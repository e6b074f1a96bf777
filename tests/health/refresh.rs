//! Background runs: callers never wait, and a refresh that has stopped is reported as stale.

use std::{
    collections::HashMap,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, advance, sleep},
};
use tower_health::{Dependency, Health, HealthBuilder, Outcome, Probe, Reason, Status};

use super::fixtures::{MS, SECOND, slow, up};
use crate::helpers::switch::Switch;

fn refreshed(switch: &Switch) -> HealthBuilder {
    Health::builder().check("a", switch.check())
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_and_runs_keep_their_period() {
    let builder = Health::builder().check("a", slow(300 * MS));
    let health = builder.refresh_every(10 * SECOND).build();
    let start = Instant::now();
    let first = health.report_for(&Probe::Readiness).await;
    assert_eq!(first.status, Status::Unknown);
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(SECOND).await;
    for _ in 0..1_000 {
        let before = Instant::now();
        assert_eq!(health.report().await.status, Status::Up);
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(100 * MS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_longer_of_refresh_and_cache_is_the_period() {
    // Refresh, cache, and how many runs start in 600 s: a period is up to a tenth longer.
    for (refresh, cache, expected) in [
        (1, Some(60), 9..=11),
        (60, Some(1), 9..=11),
        (60, None, 9..=11),
        (1, None, 540..=601),
    ] {
        let switch = Switch::on();
        let mut dependency = Dependency::new("a", switch.check());
        if let Some(cache) = cache {
            dependency = dependency.cache_for(cache * SECOND);
        }
        let health = Health::builder()
            .add(dependency)
            .refresh_every(refresh * SECOND)
            .build();
        let period = refresh.max(cache.unwrap_or_default()) * SECOND;
        assert_eq!(health.snapshot().entries[0].interval, Some(period));
        sleep(70 * SECOND).await;
        let before = switch.runs();
        for _ in 0..600 {
            sleep(SECOND).await;
            assert_eq!(health.report().await.status, Status::Up);
        }
        let runs = switch.runs() - before;
        assert!(expected.contains(&runs), "{refresh} {cache:?}: {runs}");
    }
}

/// Without a random first phase a fleet that was deployed at once would check at once.
#[tokio::test(start_paused = true)]
async fn handles_built_at_once_spread_their_runs() {
    const HANDLES: usize = 200;
    let runs_at = Arc::new(Mutex::new(HashMap::<_, usize>::new()));
    let start = Instant::now();
    let handles: Vec<_> = (0..HANDLES)
        .map(|_| {
            let runs_at = runs_at.clone();
            let check = move || {
                let second = start.elapsed().as_secs();
                *runs_at.lock().expect("no panic").entry(second).or_default() += 1;
                ready(Ok(Outcome::up()))
            };
            let builder = Health::builder().check("a", check);
            builder.refresh_every(10 * SECOND).build()
        })
        .collect();
    sleep(60 * SECOND).await;
    let runs_at = runs_at.lock().expect("no panic");
    let most = (20..60).map(|second| runs_at.get(&second).copied().unwrap_or_default());
    // 18 or 19 on average; all of them at the same time are 200.
    let most = most.max().unwrap_or_default();
    assert!((10..60).contains(&most), "{most}");
    drop(handles);
}

#[tokio::test(start_paused = true)]
async fn it_runs_without_callers_and_ends_with_the_last_handle() {
    let switch = Switch::on();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let idle = tasks();
    let health = refreshed(&switch).refresh_every(SECOND).build();
    assert!(!health.is_started());
    sleep(10 * SECOND).await;
    assert!((8..=11).contains(&switch.runs()), "{}", switch.runs());
    assert_eq!(health.snapshot().status, Status::Up);
    assert!(health.is_started(), "startup latches without a probe");
    drop(health.clone());
    assert!(tasks() > idle);
    drop(health);
    sleep(SECOND).await;
    assert_eq!(tasks(), idle);
    let last = switch.runs();
    sleep(10 * SECOND).await;
    assert_eq!(switch.runs(), last);
}

#[test]
fn a_result_that_is_no_longer_refreshed_is_stale() {
    let paused = || {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().start_paused(true).build()
    };
    let ended = paused().expect("a runtime");
    let health = ended.block_on(async {
        let health = Health::builder().check("a", up).refresh_every(SECOND);
        let health = health.build();
        sleep(5 * SECOND).await;
        assert_eq!(health.report().await.status, Status::Up);
        health
    });
    drop(ended);
    let report = paused().expect("a runtime").block_on(async {
        advance(60 * SECOND).await;
        health.snapshot()
    });
    assert_eq!(report.status, Status::Down);
    assert_eq!(report.entries[0].reason, Some(Reason::Stale));
}

#[tokio::test(start_paused = true)]
async fn a_tiny_period_leaves_the_runtime_time_for_others() {
    let switch = Switch::on();
    let dependency = Dependency::new("a", switch.check()).cache_for(Duration::ZERO);
    let _health = Health::builder()
        .add(dependency)
        .refresh_every(Duration::from_nanos(1))
        .build();
    sleep(SECOND).await;
    assert!((1..=101).contains(&switch.runs()), "{}", switch.runs());
}

#[tokio::test(start_paused = true)]
async fn with_an_endless_period_the_first_caller_starts_the_run() {
    let health = refreshed(&Switch::on())
        .refresh_every(Duration::MAX)
        .build();
    assert_eq!(health.report().await.status, Status::Unknown);
    sleep(SECOND).await;
    assert_eq!(health.report().await.status, Status::Up);
}
