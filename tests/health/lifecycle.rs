//! Starting, started, maintenance and draining, and which probes show them.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower_health::{Dependency, Health, HealthLayer, Probe, Reason, Status};

use super::fixtures::{MS, SECOND, next_status, refused, status, up};
use crate::helpers::{gate::Gate, layer_client::LayerClient, switch::Switch};

fn health() -> Health {
    Health::builder().check("a", up).build()
}

#[tokio::test(start_paused = true)]
async fn startup_latches_when_all_required_are_up() {
    let (required, optional) = (Switch::off(), Switch::off());
    let health = Health::builder()
        .check("required", required.check())
        .add(Dependency::new("optional", optional.check()).optional())
        .build();
    let before = health.snapshot_for(&Probe::Readiness);
    assert_eq!(before.status, Status::Unknown);
    let report = health.report_for(&Probe::Startup).await;
    let found = (report.status, report.reason);
    assert_eq!(found, (Status::Down, Some(Reason::Starting)));
    required.set(true);
    assert_eq!(next_status(&health, Probe::Startup).await, Status::Up);
    assert!(health.is_started());
    required.set(false);
    assert_eq!(next_status(&health, Probe::Startup).await, Status::Up);
    assert_eq!(status(&health, Probe::Readiness).await, Status::Down);
}

#[tokio::test(start_paused = true)]
async fn startup_latches_only_on_results_that_held_together() {
    let (first, second) = (Switch::on(), Switch::off());
    let health = Health::builder()
        .check("first", first.check())
        .add(Dependency::new("second", second.check()).cache_for(2 * SECOND))
        .build();
    let client = LayerClient::new(&health);
    // Checked one at a time; they are never up at the same time.
    client.get("/readyz?exclude=second").await;
    // The first result has expired, and is not old enough to be unknown.
    advance(1_500 * MS).await;
    first.set(false);
    second.set(true);
    client.get("/readyz?exclude=first").await;
    assert!(!health.is_started());
    assert_eq!(status(&health, Probe::Startup).await, Status::Down);
    first.set(true);
    assert_eq!(next_status(&health, Probe::Startup).await, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn an_expired_result_does_not_latch_startup() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("a", gate.check()).timeout(60 * SECOND))
        .check("b", refused)
        .build();
    gate.pass.add_permits(1);
    assert_eq!(health.report().await.status, Status::Down);
    assert!(health.remove("b"));
    advance(600 * SECOND).await;
    // The run that is due does not end in time.
    assert_eq!(status(&health, Probe::Startup).await, Status::Unknown);
    assert!(!health.is_started());
}

#[tokio::test(start_paused = true)]
async fn draining_is_unready_at_once_and_alive() {
    let health = health();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
    let start = Instant::now();
    let draining = tokio::spawn({
        let health = health.clone();
        async move { health.drain(5 * SECOND).await }
    });
    while !health.is_draining() {
        yield_now().await;
    }
    let report = health.report_for(&Probe::Readiness).await;
    let found = (report.status, report.reason);
    assert_eq!(found, (Status::Down, Some(Reason::Draining)));
    for probe in [Probe::Liveness, Probe::Startup, Probe::Full] {
        assert_eq!(
            health.report_for(&probe).await.status,
            Status::Up,
            "{probe}"
        );
    }
    assert!(start.elapsed() < SECOND);
    draining.await.expect("no panic");
    assert!(start.elapsed() >= 5 * SECOND);
    assert!(health.is_draining());
    health.set_draining(false);
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn maintenance_shows_in_readiness_alone() {
    let health = health();
    let client = LayerClient::new(&health);
    // Twice: the second answer is cached, and maintenance invalidates it though no time passes.
    for _ in 0..2 {
        assert_eq!(client.code("/readyz").await, 200);
    }
    health.enter_maintenance("moving the disk");
    let (code, body) = client.get("/readyz").await;
    let start = r#"{"status":"down","reason":"maintenance","message":"moving the disk","checks":{"#;
    assert_eq!(code, 503);
    assert!(body.starts_with(start), "{body}");
    let unauthorized = LayerClient(HealthLayer::new(health.clone()));
    let answer = unauthorized.get("/readyz").await;
    assert_eq!(answer, (503, r#"{"status":"down"}"#.to_owned()));
    for path in ["/livez", "/startupz", "/health"] {
        let (code, body) = client.get(path).await;
        assert_eq!(code, 200, "{path}");
        assert!(!body.contains("maintenance"), "{body}");
    }
    health.exit_maintenance();
    assert_eq!(client.code("/readyz").await, 200);
}

#[tokio::test(start_paused = true)]
async fn the_last_maintenance_message_counts() {
    let health = health();
    assert_eq!(health.maintenance_message(), None);
    health.exit_maintenance();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
    for message in ["first", "second", "second"] {
        health.enter_maintenance(message);
    }
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!(report.message.as_deref(), Some("second"));
    assert_eq!(health.maintenance_message().as_deref(), Some("second"));
    health.enter_maintenance(format!("a\r\nforged: line\u{1b}[2J{}", "x".repeat(1_000)));
    let bounded = health.maintenance_message().expect("in maintenance");
    assert!(bounded.starts_with("a  forged: line [2J"), "{bounded}");
    assert_eq!(bounded.len(), 256);
    health.enter_maintenance("");
    let report = health.snapshot_for(&Probe::Readiness);
    let found = (report.reason, report.message);
    assert_eq!(found, (Some(Reason::Maintenance), None));
    // One exit ends maintenance, however often it was entered.
    health.exit_maintenance();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn draining_and_maintenance_are_independent() {
    let health = health();
    let reason = async || health.report_for(&Probe::Readiness).await.reason;
    health.set_started();
    health.enter_maintenance("moving the disk");
    health.drain(SECOND).await;
    assert_eq!(reason().await, Some(Reason::Draining));
    health.set_draining(false);
    assert_eq!(reason().await, Some(Reason::Maintenance));
    health.set_draining(true);
    health.exit_maintenance();
    assert_eq!(reason().await, Some(Reason::Draining));
}

#[tokio::test(start_paused = true)]
async fn out_of_rotation_runs_go_on_and_callers_do_not_wait() {
    let changes: [fn(&Health); 2] = [
        |health| health.enter_maintenance("moving the disk"),
        |health| health.set_draining(true),
    ];
    for leave_rotation in changes {
        let switch = Switch::on();
        let health = Health::builder()
            .add(Dependency::new("a", switch.check()).group("g"))
            .build();
        assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
        leave_rotation(&health);
        let readiness = health.report_for(&Probe::Readiness).await;
        assert_eq!(readiness.entries[0].status, Status::Up, "is not expired");
        switch.set(false);
        // Just past its lifetime at first.
        for (probe, passed) in [
            (Probe::Readiness, 1_500 * MS),
            (Probe::group("g"), 6 * SECOND),
        ] {
            sleep(passed).await;
            // The run that is due starts, and the report shows what is known: it is too old.
            let (before, runs) = (Instant::now(), switch.runs());
            let entry = health.report_for(&probe).await.entries.remove(0);
            assert_eq!(before.elapsed(), Duration::ZERO);
            let found = (entry.status, entry.reason);
            assert_eq!(found, (Status::Unknown, Some(Reason::Stale)), "{probe}");
            sleep(100 * MS).await;
            assert_eq!(switch.runs(), runs + 1, "{probe}");
            let report = health.report_for(&probe).await;
            assert_eq!(report.status, Status::Down);
            assert_eq!(report.entries[0].reason, Some(Reason::Refused), "{probe}");
        }
    }
}
