//! An app that waits until it is ready, or says in one line why it is not.

use std::time::Duration;

use crate::helpers::switch::Switch;
use tokio::time::{Instant, sleep};
use tower_health::{Dependency, Failure, Health, Outcome, Reason};

const SECOND: Duration = Duration::from_secs(1);

/// A check that takes as long, and then works.
fn slow(duration: Duration) -> impl tower_health::Check {
    move || async move {
        sleep(duration).await;
        Ok(Outcome::up())
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_last_required_one_is_up() {
    let (first, second) = (Switch::off(), Switch::off());
    let health = Health::builder()
        .check("first", first.check())
        .check("second", second.check())
        .build();
    let start = Instant::now();
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.wait_until_ready(60 * SECOND).await }
    });
    sleep(5 * SECOND).await;
    first.set(true);
    sleep(5 * SECOND).await;
    assert!(!waiting.is_finished());
    second.set(true);
    waiting.await.expect("no panic").expect("is ready");
    assert!(start.elapsed() < 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_error_names_what_fails_and_why_and_nothing_else() {
    let health = Health::builder()
        .check("database", Switch::off().check())
        .check("queue", Switch::on().check())
        .add(Dependency::new("search", Switch::off().check()).optional())
        .build();
    let start = Instant::now();
    let error = health
        .wait_until_ready(10 * SECOND)
        .await
        .expect_err("is not ready");
    assert!(start.elapsed() <= 10 * SECOND);
    assert_eq!(
        error.to_string(),
        "not ready: database is down (refused: nobody listens)"
    );
    assert_eq!(error.failing().len(), 1);
    let start = Instant::now();
    assert!(health.ensure_ready().await.is_err());
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_single_try_waits_for_the_runs_own_timeouts() {
    // Longer than any prober's patience, and refreshed in the background, where no caller waits.
    let builders = [
        Health::builder(),
        Health::builder().refresh_every(60 * SECOND),
    ];
    for builder in builders {
        let health = builder
            .add(Dependency::new("slow", slow(3 * SECOND)).timeout(5 * SECOND))
            .add(Dependency::new("hanging", slow(60 * SECOND)).timeout(4 * SECOND))
            .add(
                Dependency::new("optional", slow(60 * SECOND))
                    .optional()
                    .timeout(30 * SECOND),
            )
            .build();
        let start = Instant::now();
        let error = health.ensure_ready().await.expect_err("one hangs");
        assert_eq!(
            error.to_string(),
            "not ready: hanging is down (timeout: no answer within 4000 ms)"
        );
        assert_eq!(start.elapsed().as_secs(), 4);
        assert!(health.remove("hanging"));
        health.ensure_ready().await.expect("the rest serves");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_tries_again_though_failures_are_kept_for_long() {
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
    // Once a second, and not with each of the first pauses.
    assert!((6..=11).contains(&switch.runs()), "{}", switch.runs());
    switch.set(true);
    waiting.await.expect("no panic").expect("is ready");
    assert!(start.elapsed() <= 12 * SECOND);
    // What serves is kept as long as it says.
    let before = switch.runs();
    sleep(300 * SECOND).await;
    health.ensure_ready().await.expect("is ready");
    assert_eq!(switch.runs(), before);
}

#[tokio::test(start_paused = true)]
async fn waiting_uses_the_whole_limit() {
    // When the dependency recovers, for how long a failure is cached, and the limit.
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
async fn the_error_prints_as_its_line_from_main() {
    let health = Health::builder()
        .check("database", Switch::off().check())
        .build();
    let error = health.ensure_ready().await.expect_err("is not ready");
    let line = "not ready: database is down (refused: nobody listens)";
    assert_eq!(
        (format!("{error:?}"), error.to_string()),
        (line.into(), line.into())
    );
    let boxed: Box<dyn std::error::Error> = error.into();
    assert_eq!(format!("{boxed:?}"), line);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_run_under_way_is_named_too() {
    let health = Health::builder()
        .check("refused", Switch::off().check())
        .add(Dependency::new("slow", slow(30 * SECOND)).timeout(60 * SECOND))
        .build();
    let start = Instant::now();
    let error = health
        .wait_until_ready(5 * SECOND)
        .await
        .expect_err("is not ready");
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert_eq!(
        error.to_string(),
        "not ready: refused is down (refused: nobody listens); slow is unknown (pending)"
    );
}

#[tokio::test(start_paused = true)]
async fn the_error_is_one_line_and_says_when_the_app_itself_wants_no_traffic() {
    let check = || std::future::ready(Err(Failure::new(Reason::Auth).message("no\r\nforged: up")));
    let health = Health::builder().check("a", check).build();
    health.enter_maintenance("a look inside");
    let error = health.ensure_ready().await.expect_err("is taken out");
    assert_eq!(error.reason(), Some(Reason::Maintenance));
    assert_eq!(
        error.to_string(),
        "not ready: maintenance (a look inside); a is down (auth: no  forged: up)"
    );
    health.set_draining(true);
    assert!(health.remove("a"));
    let error = health.ensure_ready().await.expect_err("is draining");
    assert_eq!(error.to_string(), "not ready: draining");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_added_during_the_try_is_named_too() {
    let health = Health::builder().check("slow", slow(SECOND / 2)).build();
    let verified = tokio::spawn({
        let health = health.clone();
        async move { health.ensure_ready().await }
    });
    sleep(SECOND / 4).await;
    let late = Dependency::new("late", Switch::off().check());
    health.add(late).expect("new");
    let error = verified.await.expect("no panic").expect_err("down");
    let names: Vec<_> = error.failing().iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["late"]);
}
