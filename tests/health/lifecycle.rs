//! From started to drained, and which probe looks at what.

use std::time::Duration;

use crate::helpers::{gate::Gate, layer_client::LayerClient, switch::Switch};
use tokio::time::{Instant, advance};
use tower_health::{Dependency, Health, Probe, Reason, Status, checks::Heartbeat};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn readiness_is_unknown_before_the_first_verdict() {
    let health = Health::builder().check("a", Switch::on().check()).build();
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
    let (required, optional) = (Switch::off(), Switch::off());
    let health = Health::builder()
        .check("required", required.check())
        .add(Dependency::new("optional", optional.check()).optional())
        .build();
    let report = health.report_for(&Probe::Startup).await;
    assert_eq!(
        (report.status, report.reason),
        (Status::Down, Some(Reason::Starting))
    );
    required.set(true);
    advance(2 * SECOND).await;
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    assert!(health.is_started());
    required.set(false);
    advance(2 * SECOND).await;
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Down
    );
}

#[tokio::test(start_paused = true)]
async fn startup_latches_on_results_that_held_together_only() {
    let (first, second) = (Switch::on(), Switch::off());
    let health = Health::builder()
        .check("first", first.check())
        .add(Dependency::new("second", second.check()).cache_for(2 * SECOND))
        .build();
    // Asked for one at a time, as by their own paths; they are never up at the same time.
    let only = async |name: &str| {
        let other = if name == "first" { "second" } else { "first" };
        let face = LayerClient::new(&health);
        face.get(&format!("/readyz?exclude={other}")).await
    };
    only("first").await;
    advance(10 * SECOND).await;
    first.set(false);
    second.set(true);
    only("second").await;
    assert!(!health.is_started());
    assert_eq!(health.snapshot_for(&Probe::Startup).status, Status::Unknown);
    assert!(!health.is_started());
    let report = health.report_for(&Probe::Startup).await;
    assert_eq!(report.status, Status::Down);
    first.set(true);
    advance(10 * SECOND).await;
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_unknown_latches_nothing() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("a", gate.check()).timeout(60 * SECOND))
        .check("b", Switch::off().check())
        .build();
    gate.pass.add_permits(1);
    assert_eq!(health.report().await.status, Status::Down);
    assert!(health.remove("b"));
    advance(600 * SECOND).await;
    // The result from long ago says nothing about now, and its run does not end in time.
    let report = health.report_for(&Probe::Startup).await;
    assert_eq!(report.entries[0].status, Status::Unknown);
    assert_eq!(report.status, Status::Unknown);
    assert!(!health.is_started());
}

#[tokio::test(start_paused = true)]
async fn the_app_may_say_that_it_has_started() {
    let health = Health::builder().check("a", Switch::off().check()).build();
    health.set_started();
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn draining_is_unready_at_once_and_alive() {
    let health = Health::builder().check("a", Switch::on().check()).build();
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
async fn liveness_looks_inside_the_process_only() {
    let worker = Heartbeat::new(30 * SECOND);
    let health = Health::builder()
        .check("database", Switch::off().check())
        .liveness_check("worker", worker.clone())
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
        .add(Dependency::new("card", Switch::on().check()).group("payments"))
        .add(
            Dependency::new("bank", Switch::off().check())
                .group("payments")
                .exclude_from_readiness(),
        )
        .check("other", Switch::on().check())
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
    let up = Switch::off();
    let health = Health::builder()
        .add(
            Dependency::new("a", up.check())
                .cache_for(60 * SECOND)
                .cache_failures_for(SECOND),
        )
        .build();
    assert_eq!(health.report().await.status, Status::Down);
    up.set(true);
    advance(SECOND / 2).await;
    assert_eq!(health.report().await.status, Status::Down);
    advance(SECOND).await;
    assert_eq!(health.report().await.status, Status::Up);
    up.set(false);
    advance(59 * SECOND).await;
    assert_eq!(health.report().await.status, Status::Up);
    advance(8 * SECOND).await;
    assert_eq!(health.report().await.status, Status::Down);
}
