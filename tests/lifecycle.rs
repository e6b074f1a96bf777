//! From refuse-to-start to drained, and which probe looks at what.
#![allow(missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tower_health::{
    CheckResult, Dependency, Failure, Health, Outcome, Probe, Reason, Status, checks::Heartbeat,
};

const SECOND: Duration = Duration::from_secs(1);

/// A check that a switch turns on.
fn switched(switch: &Arc<AtomicBool>) -> impl Fn() -> std::future::Ready<CheckResult> + use<> {
    let switch = switch.clone();
    move || {
        std::future::ready(if switch.load(Ordering::SeqCst) {
            Ok(Outcome::up())
        } else {
            Err(Failure::new(Reason::Refused).message("nobody listens"))
        })
    }
}

fn switch(on: bool) -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(on))
}

#[tokio::test(start_paused = true)]
async fn readiness_is_unknown_before_the_first_verdict() {
    let health = Health::builder()
        .check("a", switched(&switch(true)))
        .build();
    assert_eq!(
        health.snapshot_for(&Probe::Readiness).status,
        Status::Unknown
    );
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
}

#[tokio::test(start_paused = true)]
async fn startup_latches_when_all_required_serve() {
    let (required, optional) = (switch(false), switch(false));
    let health = Health::builder()
        .check("required", switched(&required))
        .add(Dependency::new("optional", switched(&optional)).optional())
        .build();
    let report = health.report_for(&Probe::Startup).await;
    assert_eq!(
        (report.status, report.reason),
        (Status::Down, Some(Reason::Starting))
    );
    required.store(true, Ordering::SeqCst);
    advance(2 * SECOND).await;
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    assert!(health.is_started());
    required.store(false, Ordering::SeqCst);
    advance(2 * SECOND).await;
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Down
    );
}

#[tokio::test(start_paused = true)]
async fn the_app_may_say_that_it_has_started() {
    let health = Health::builder()
        .check("a", switched(&switch(false)))
        .build();
    health.set_started();
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn draining_is_unready_at_once_and_alive() {
    let health = Health::builder()
        .check("a", switched(&switch(true)))
        .build();
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
    let start = Instant::now();
    let draining = tokio::spawn({
        let health = health.clone();
        async move { health.drain(5 * SECOND).await }
    });
    while !health.is_draining() {
        tokio::task::yield_now().await;
    }
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!(
        (report.status, report.reason),
        (Status::Down, Some(Reason::Draining))
    );
    assert_eq!(health.report_for(&Probe::Liveness).await.status, Status::Up);
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    assert!(start.elapsed() < SECOND);
    draining.await.expect("no panic");
    assert!(start.elapsed() >= 5 * SECOND);
    health.drain(SECOND).await;
    assert!(health.is_draining());
    health.set_draining(false);
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_last_required_one_is_up() {
    let (first, second) = (switch(false), switch(false));
    let health = Health::builder()
        .check("first", switched(&first))
        .check("second", switched(&second))
        .build();
    let start = Instant::now();
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.wait_until_ready(60 * SECOND).await }
    });
    sleep(5 * SECOND).await;
    first.store(true, Ordering::SeqCst);
    sleep(5 * SECOND).await;
    assert!(!waiting.is_finished());
    second.store(true, Ordering::SeqCst);
    waiting.await.expect("no panic").expect("is ready");
    assert!(start.elapsed() < 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_error_names_what_fails_and_why_and_nothing_else() {
    let health = Health::builder()
        .check("database", switched(&switch(false)))
        .check("queue", switched(&switch(true)))
        .add(Dependency::new("search", switched(&switch(false))).optional())
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
    assert!(health.verify().await.is_err());
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn liveness_looks_inside_the_process_only() {
    let worker = Heartbeat::new(30 * SECOND);
    let health = Health::builder()
        .check("database", switched(&switch(false)))
        .liveness("worker", worker.clone())
        .build();
    let report = health.report_for(&Probe::Liveness).await;
    assert_eq!(report.status, Status::Up);
    assert!(report.entry("database").is_none());
    advance(31 * SECOND).await;
    assert_eq!(
        health.report_for(&Probe::Liveness).await.status,
        Status::Down
    );
    worker.beat();
    advance(2 * SECOND).await;
    assert_eq!(health.report_for(&Probe::Liveness).await.status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn a_group_answers_for_its_members() {
    let health = Health::builder()
        .add(Dependency::new("card", switched(&switch(true))).group("payments"))
        .add(
            Dependency::new("bank", switched(&switch(false)))
                .group("payments")
                .without_readiness(),
        )
        .check("other", switched(&switch(true)))
        .build();
    let report = health.report_for(&Probe::group("payments")).await;
    assert_eq!(report.status, Status::Down);
    let names: Vec<_> = report.entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["card", "bank"]);
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
    assert_eq!(health.report().await.status, Status::Down);
}

#[tokio::test(start_paused = true)]
async fn failures_may_serve_for_a_shorter_time() {
    let up = switch(false);
    let health = Health::builder()
        .add(
            Dependency::new("a", switched(&up))
                .cache_for(60 * SECOND)
                .cache_failure_for(SECOND),
        )
        .build();
    assert_eq!(health.report().await.status, Status::Down);
    up.store(true, Ordering::SeqCst);
    advance(SECOND / 2).await;
    assert_eq!(health.report().await.status, Status::Down);
    advance(SECOND).await;
    assert_eq!(health.report().await.status, Status::Up);
    up.store(false, Ordering::SeqCst);
    advance(59 * SECOND).await;
    assert_eq!(health.report().await.status, Status::Up);
    advance(8 * SECOND).await;
    assert_eq!(health.report().await.status, Status::Down);
}

/// A check that takes as long, and then works.
fn slow(duration: Duration) -> impl tower_health::Check {
    move || async move {
        sleep(duration).await;
        Ok(Outcome::up())
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_try_waits_for_the_runs_own_timeouts() {
    // Longer than any prober's patience, and refreshed in the background, where no asker waits.
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
        let error = health.verify().await.expect_err("one hangs");
        assert_eq!(
            error.to_string(),
            "not ready: hanging is down (timeout: no answer within 4000 ms)"
        );
        assert_eq!(start.elapsed().as_secs(), 4);
        assert!(health.remove("hanging"));
        health.verify().await.expect("the rest serves");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_tries_again_though_failures_are_kept_for_long() {
    let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counter, up) = (runs.clone(), switch(false));
    let check = switched(&up);
    let check = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        check()
    };
    let health = Health::builder()
        .add(Dependency::new("a", check).cache_for(600 * SECOND))
        .build();
    let start = Instant::now();
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.wait_until_ready(60 * SECOND).await }
    });
    sleep(10 * SECOND).await;
    // Once a second, and not with each of the first pauses.
    assert!((6..=11).contains(&runs.load(Ordering::SeqCst)), "{runs:?}");
    up.store(true, Ordering::SeqCst);
    waiting.await.expect("no panic").expect("is ready");
    assert!(start.elapsed() <= 12 * SECOND);
    // What serves is kept as long as it says.
    let before = runs.load(Ordering::SeqCst);
    sleep(300 * SECOND).await;
    health.verify().await.expect("is ready");
    assert_eq!(runs.load(Ordering::SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_run_under_way_is_named_too() {
    let health = Health::builder()
        .check("refused", switched(&switch(false)))
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
    health.take_out("a look inside");
    let error = health.verify().await.expect_err("is taken out");
    assert_eq!(error.reason(), Some(Reason::Maintenance));
    assert_eq!(
        error.to_string(),
        "not ready: maintenance (a look inside); a is down (auth: no  forged: up)"
    );
    health.set_draining(true);
    assert!(health.remove("a"));
    let error = health.verify().await.expect_err("is draining");
    assert_eq!(error.to_string(), "not ready: draining");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_added_during_the_try_is_named_too() {
    let health = Health::builder().check("slow", slow(SECOND / 2)).build();
    let verified = tokio::spawn({
        let health = health.clone();
        async move { health.verify().await }
    });
    sleep(SECOND / 4).await;
    let late = Dependency::new("late", switched(&switch(false)));
    health.add(late).expect("new");
    let error = verified.await.expect("no panic").expect_err("down");
    let names: Vec<_> = error.failing().iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["late"]);
}
