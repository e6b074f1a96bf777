//! An app that waits until it is ready, or reports in one line why it is not.

use std::{error::Error, future::ready, time::Duration};

use tokio::{
    join,
    time::{Instant, sleep},
};
use tower_health::{Dependency, Failure, Health, Reason, health::NotReady};

use super::fixtures::{MS, SECOND, checked, health, refused, slow, up};
use crate::helpers::switch::Switch;

fn names(error: &NotReady) -> Vec<&str> {
    let failing = error.failing().iter();
    failing.map(|entry| &*entry.name).collect()
}

#[tokio::test(start_paused = true)]
async fn the_error_names_what_is_not_ready_in_one_line() {
    let health = Health::builder()
        .check("database", refused)
        .check("queue", up)
        .add(Dependency::new("search", refused).optional())
        .add(Dependency::new("slow", slow(30 * SECOND)).timeout(60 * SECOND))
        .build();
    let start = Instant::now();
    let error = health.wait_until_ready(5 * SECOND).await.expect_err("down");
    assert_eq!(start.elapsed(), 5 * SECOND);
    let line =
        "not ready: database is down (refused: connection refused); slow is unknown (pending)";
    assert_eq!(names(&error), ["database", "slow"]);
    assert_eq!(error.to_string(), line);
    // What a `main` that returns it prints.
    let boxed: Box<dyn Error> = error.into();
    assert_eq!(format!("{boxed:?}"), line);
}

#[tokio::test(start_paused = true)]
async fn the_error_names_the_lifecycle_and_escapes_line_breaks() {
    let health = checked(|| ready(Err(Failure::new(Reason::Auth).message("no\r\nforged: up"))));
    health.enter_maintenance("moving the disk");
    let error = health.ensure_ready().await.expect_err("in maintenance");
    assert_eq!(error.reason(), Some(Reason::Maintenance));
    let line = "not ready: maintenance (moving the disk); a is down (auth: no  forged: up)";
    assert_eq!(error.to_string(), line);
    health.set_draining(true);
    assert!(health.remove("a"));
    let error = health.ensure_ready().await.expect_err("is draining");
    assert_eq!(error.to_string(), "not ready: draining");
}

#[tokio::test(start_paused = true)]
async fn a_single_try_waits_for_the_timeouts_of_runs() {
    // Longer than `answer_within`; and with a refresh, where no caller waits.
    for refreshes in [false, true] {
        let mut builder = Health::builder();
        if refreshes {
            builder = builder.refresh_every(60 * SECOND);
        }
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
        // The runs are concurrent.
        assert_eq!(start.elapsed().as_secs(), 4);
        assert!(health.remove("hanging"));
        health.ensure_ready().await.expect("the others are up");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_retries_each_second_and_uses_all_of_its_limit() {
    // When the dependency recovers, for how long its results are cached, and the limit, in ms.
    for (recovers, cached, limit) in [
        (200, 900, 1_500),
        (1_200, 900, 1_500),
        (300, 60_000, 500),
        (10_000, 600_000, 60_000),
        (59_000, 5_000, 60_000),
    ] {
        let ms = Duration::from_millis;
        let switch = Switch::off();
        let health = health(Dependency::new("a", switch.check()).cache_for(ms(cached)));
        let start = Instant::now();
        let waiting = async {
            let ready = health.wait_until_ready(ms(limit)).await;
            ready.expect("it recovers within the limit");
            start.elapsed()
        };
        let recovery = async {
            sleep(ms(recovers)).await;
            switch.set(true);
        };
        let (waited, ()) = join!(waiting, recovery);
        assert!(waited <= ms(limit.min(recovers + 1_000)), "{waited:?}");
        // One a second, and the last one.
        let runs = switch.runs();
        let most = usize::try_from(waited.as_millis() / 900 + 2).expect("few");
        assert!(runs <= most, "{runs} runs in {waited:?}");
        // A success is cached for its whole lifetime.
        sleep(ms(cached / 2)).await;
        health.ensure_ready().await.expect("is ready");
        assert_eq!(switch.runs(), runs);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dependency_added_during_the_try_is_checked_too() {
    let health = checked(slow(500 * MS));
    let addition = async {
        sleep(250 * MS).await;
        let late = Dependency::new("late", refused);
        health.add(late).expect("a new name");
    };
    let (ready, ()) = join!(health.ensure_ready(), addition);
    assert_eq!(names(&ready.expect_err("down")), ["late"]);
}
