//! An app that waits until it is ready, or reports in one line why it is not.

use std::{
    error::Error,
    future::{Ready, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_health::{CheckResult, Dependency, Failure, Health, Reason};

use super::fixtures::{MS, SECOND, slow};
use crate::helpers::switch::Switch;

fn refused() -> Ready<CheckResult> {
    ready(Err(Failure::new(Reason::Refused).message("no server")))
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_all_required_are_up() {
    let (first, second) = (Switch::off(), Switch::off());
    let health = Health::builder()
        .check("first", first.check())
        .check("second", second.check())
        .build();
    let start = Instant::now();
    let waiting = tokio::spawn(async move { health.wait_until_ready(60 * SECOND).await });
    sleep(5 * SECOND).await;
    first.set(true);
    sleep(5 * SECOND).await;
    assert!(!waiting.is_finished());
    second.set(true);
    waiting.await.expect("no panic").expect("is ready");
    assert!(start.elapsed() < 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_error_names_what_is_not_ready_in_one_line() {
    let health = Health::builder()
        .check("database", refused)
        .check("queue", Switch::on().check())
        .add(Dependency::new("search", Switch::off().check()).optional())
        .add(Dependency::new("slow", slow(30 * SECOND)).timeout(60 * SECOND))
        .build();
    let start = Instant::now();
    let error = health.wait_until_ready(5 * SECOND).await.expect_err("down");
    assert_eq!(start.elapsed(), 5 * SECOND);
    let line = "not ready: database is down (refused: no server); slow is unknown (pending)";
    let names: Vec<_> = error.failing().iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["database", "slow"]);
    assert_eq!(error.to_string(), line);
    // What a `main` that returns it prints.
    let boxed: Box<dyn Error> = error.into();
    assert_eq!(format!("{boxed:?}"), line);
}

#[tokio::test(start_paused = true)]
async fn a_single_try_waits_for_the_timeouts_of_runs() {
    // Longer than `answer_within`; and with a refresh, where no caller waits.
    let builders = [
        Health::builder(),
        Health::builder().refresh_every(60 * SECOND),
    ];
    for builder in builders {
        let optional = Dependency::new("optional", slow(60 * SECOND)).optional();
        let health = builder
            .add(Dependency::new("slow", slow(3 * SECOND)).timeout(5 * SECOND))
            .add(Dependency::new("hanging", slow(60 * SECOND)).timeout(4 * SECOND))
            .add(optional.timeout(30 * SECOND))
            .build();
        let start = Instant::now();
        let error = health.ensure_ready().await.expect_err("one hangs");
        let line = "not ready: hanging is down (timeout: no answer within 4000 ms)";
        assert_eq!(error.to_string(), line);
        assert_eq!(start.elapsed().as_secs(), 4);
        assert!(health.remove("hanging"));
        health.ensure_ready().await.expect("the others are up");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_retries_each_second_however_long_failures_are_cached() {
    let switch = Switch::off();
    let health = Health::builder()
        .add(Dependency::new("a", switch.check()).cache_for(600 * SECOND))
        .build();
    let start = Instant::now();
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.wait_until_ready(60 * SECOND).await }
    });
    sleep(10 * SECOND).await;
    assert!((6..=11).contains(&switch.runs()), "{}", switch.runs());
    switch.set(true);
    waiting.await.expect("no panic").expect("is ready");
    assert!(start.elapsed() <= 12 * SECOND);
    // A success is cached for its whole lifetime.
    let before = switch.runs();
    sleep(300 * SECOND).await;
    health.ensure_ready().await.expect("is ready");
    assert_eq!(switch.runs(), before);
}

#[tokio::test(start_paused = true)]
async fn waiting_uses_all_of_its_limit() {
    // When the dependency recovers, for how long a failure is cached, and the limit, in ms.
    for (recovers, cached, limit) in [
        (200, 900, 1_500),
        (200, 60_000, 1_500),
        (1_200, 900, 1_500),
        (300, 60_000, 500),
        (59_000, 5_000, 60_000),
    ] {
        let ms = Duration::from_millis;
        let switch = Switch::off();
        let health = Health::builder()
            .add(Dependency::new("a", switch.check()).cache_for(ms(cached)))
            .build();
        let start = Instant::now();
        let recovery = tokio::spawn({
            let switch = switch.clone();
            async move {
                sleep(ms(recovers)).await;
                switch.set(true);
            }
        });
        let ready = health.wait_until_ready(ms(limit)).await;
        ready.expect("it recovers within the limit");
        assert!(start.elapsed() <= ms(limit));
        // One a second, and the last one.
        let most = usize::try_from(limit / 900 + 2).expect("few");
        assert!(switch.runs() <= most, "{} runs", switch.runs());
        recovery.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_names_the_lifecycle_and_escapes_line_breaks() {
    let check = || ready(Err(Failure::new(Reason::Auth).message("no\r\nforged: up")));
    let health = Health::builder().check("a", check).build();
    health.enter_maintenance("moving the disk");
    let error = health.ensure_ready().await.expect_err("in maintenance");
    assert_eq!(error.reason(), Some(Reason::Maintenance));
    assert_eq!(
        error.to_string(),
        "not ready: maintenance (moving the disk); a is down (auth: no  forged: up)"
    );
    health.set_draining(true);
    assert!(health.remove("a"));
    let error = health.ensure_ready().await.expect_err("is draining");
    assert_eq!(error.to_string(), "not ready: draining");
}

#[tokio::test(start_paused = true)]
async fn a_dependency_added_during_the_try_is_checked_too() {
    let health = Health::builder().check("slow", slow(500 * MS)).build();
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.ensure_ready().await }
    });
    sleep(250 * MS).await;
    let late = Dependency::new("late", refused);
    health.add(late).expect("a new name");
    let error = waiting.await.expect("no panic").expect_err("down");
    let names: Vec<_> = error.failing().iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["late"]);
}
