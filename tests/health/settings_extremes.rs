//! Settings that nobody measured: "never" and "at once".

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_health::{Dependency, Failure, Health, HealthBuilder, Outcome, Reason, Status};

type Change = fn(Dependency) -> Dependency;
type Build = fn(HealthBuilder) -> HealthBuilder;

/// The statuses of a dependency that is up and of one that is down, asked three times.
async fn seen(change: Change, build: Build) -> Vec<[(Status, Option<Reason>); 2]> {
    let up = Dependency::new("up", async || Ok(Outcome::up()));
    let down = Dependency::new("down", async || Err(Failure::new(Reason::Refused)));
    let builder = Health::builder().add(change(up)).add(change(down));
    let health = build(builder).build();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let report = health.report().await;
        let entry = |name| {
            let entry = report.entry(name).expect("registered");
            (entry.status, entry.reason)
        };
        seen.push([entry("up"), entry("down")]);
    }
    seen
}

#[tokio::test]
async fn no_length_of_time_is_too_long_to_set() {
    const NEVER: Duration = Duration::MAX;
    let settings: [(&str, Change, Build); 5] = [
        (
            "timeout",
            |dependency| dependency.timeout(NEVER),
            |builder| builder,
        ),
        (
            "cache_for",
            |dependency| dependency.cache_for(NEVER),
            |builder| builder,
        ),
        (
            "cache_failures_for",
            |dependency| dependency.cache_failures_for(NEVER),
            |builder| builder,
        ),
        (
            "answer_within",
            |dependency| dependency,
            |builder| builder.answer_within(NEVER),
        ),
        (
            "all of them",
            |dependency| {
                dependency
                    .timeout(NEVER)
                    .cache_for(NEVER)
                    .cache_failures_for(NEVER)
            },
            |builder| builder.answer_within(NEVER),
        ),
    ];
    let truth = [(Status::Up, None), (Status::Down, Some(Reason::Refused))];
    for (name, change, build) in settings {
        assert_eq!(seen(change, build).await, [truth; 3], "{name}");
    }
}

#[tokio::test]
async fn a_cache_of_no_time_asks_each_time() {
    let truth = [(Status::Up, None), (Status::Down, Some(Reason::Refused))];
    let at_once: Change = |dependency| dependency.cache_for(Duration::ZERO);
    assert_eq!(seen(at_once, |builder| builder).await, [truth; 3]);
}

#[tokio::test]
async fn whoever_waits_for_ever_is_answered_when_it_is_ready() {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    health.wait_until_ready(Duration::MAX).await.expect("ready");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_without_a_pause_leaves_the_runtime_time_for_others() {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let check = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Outcome::up()))
    };
    let _health = Health::builder()
        .add(Dependency::new("database", check).cache_for(Duration::ZERO))
        .refresh_every(Duration::from_nanos(1))
        .build();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let runs = runs.load(Ordering::Relaxed);
    assert!((1..=101).contains(&runs), "{runs}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_never_comes_again_still_answers() {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .refresh_every(Duration::MAX)
        .build();
    // Nobody waits for a refresh; the first caller sees to the first run.
    assert_eq!(health.report().await.status, Status::Unknown);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(health.report().await.status, Status::Up);
}
