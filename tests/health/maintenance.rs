//! The manual switch: out of traffic by hand, with a reason, and back.

use std::time::Duration;

use crate::helpers::{layer_client::LayerClient, switch::Switch};
use tokio::time::{Instant, sleep};
use tower_health::{Dependency, Health, HealthLayer, Outcome, Probe, Reason, Status};

fn health() -> Health {
    let health = Health::builder().check("a", async || Ok(Outcome::up()));
    health.build()
}

#[tokio::test(start_paused = true)]
async fn only_readiness_says_that_it_is_out() {
    let health = health();
    let face = LayerClient::new(&health);
    // Twice: the second answer is a kept one, which the switch must spoil though no time passes.
    for _ in 0..2 {
        assert_eq!(face.get("/readyz").await.0, 200);
    }
    health.enter_maintenance("moving the disk");
    let (code, body) = face.get("/readyz").await;
    let whole = r#"{"status":"down","reason":"maintenance","message":"moving the disk","checks":{"#;
    assert_eq!(code, 503);
    assert!(body.starts_with(whole), "{body}");
    for path in ["/livez", "/startupz", "/health"] {
        let (code, body) = face.get(path).await;
        assert_eq!(code, 200, "{path}");
        assert!(!body.contains("maintenance"), "{body}");
    }
    health.exit_maintenance();
    assert_eq!(face.get("/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn out_of_rotation_runs_go_on_and_callers_do_not_wait() {
    const SECOND: Duration = Duration::from_secs(1);

    let take_out: [fn(&Health); 2] = [
        |health| health.enter_maintenance("moving the disk"),
        |health| health.set_draining(true),
    ];
    for take_out in take_out {
        let switch = Switch::on();
        let health = Health::builder()
            .add(Dependency::new("a", switch.check()).group("g"))
            .build();
        let probes = [Probe::Readiness, Probe::group("g")];
        assert_eq!(health.report_for(&probes[0]).await.status, Status::Up);
        take_out(&health);
        switch.set(false);
        for probe in &probes {
            sleep(6 * SECOND).await;
            // The run that is due starts here, and what stands there until it ends is too old.
            let (before, runs) = (Instant::now(), switch.runs());
            let report = health.report_for(probe).await;
            assert_eq!(before.elapsed(), Duration::ZERO);
            let entry = &report.entries[0];
            assert_eq!(
                (entry.status, entry.reason),
                (Status::Unknown, Some(Reason::Stale)),
                "{probe}"
            );
            sleep(SECOND / 10).await;
            assert_eq!(switch.runs(), runs + 1, "{probe}");
            let report = health.report_for(probe).await;
            assert_eq!(report.status, Status::Down);
            assert_eq!(report.entries[0].reason, Some(Reason::Refused), "{probe}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unauthorized_caller_does_not_learn_why() {
    let health = health();
    let face = LayerClient(HealthLayer::new(health.clone()));
    health.enter_maintenance("moving the disk");
    let answer = face.get("/readyz").await;
    assert_eq!(answer, (503, r#"{"status":"down"}"#.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn it_may_be_said_twice_and_the_last_word_counts() {
    let health = health();
    assert_eq!(health.maintenance_message(), None);
    health.exit_maintenance();
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
    health.enter_maintenance("first");
    health.enter_maintenance("second");
    health.enter_maintenance("second");
    assert_eq!(health.maintenance_message().as_deref(), Some("second"));
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!(report.message.as_deref(), Some("second"));
    // However often it was taken out, it is put back once.
    health.exit_maintenance();
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!((report.status, report.reason), (Status::Up, None));
}

#[tokio::test(start_paused = true)]
async fn it_is_independent_of_draining() {
    let health = health();
    let reason = async || health.report_for(&Probe::Readiness).await.reason;
    health.set_started();
    health.enter_maintenance("a look inside");
    health.drain(Duration::from_secs(1)).await;
    assert_eq!(reason().await, Some(Reason::Draining));
    health.set_draining(false);
    assert_eq!(reason().await, Some(Reason::Maintenance));
    health.set_draining(true);
    health.exit_maintenance();
    assert_eq!(reason().await, Some(Reason::Draining));
}

#[test]
fn its_text_is_one_bounded_line() {
    let health = health();
    health.enter_maintenance(format!("a\r\nforged: line\u{1b}[2J{}", "x".repeat(1_000)));
    let kept = health.maintenance_message().expect("taken out");
    assert!(kept.starts_with("a  forged: line [2J"), "{kept}");
    assert_eq!(kept.len(), 256);
    // Without a word it is taken out all the same.
    health.enter_maintenance("");
    let report = health.snapshot_for(&Probe::Readiness);
    assert_eq!(
        (report.reason, report.message),
        (Some(Reason::Maintenance), None)
    );
}

#[tokio::test(start_paused = true)]
async fn an_expired_result_in_maintenance_is_stale() {
    let health = health();
    health.report().await;
    health.enter_maintenance("moving the disk");
    let readiness = health.report_for(&Probe::Readiness).await;
    assert_eq!(readiness.entry("a").expect("added").status, Status::Up);
    // Past its lifetime, and long before it is of no use.
    sleep(Duration::from_millis(1_500)).await;
    let readiness = health.report_for(&Probe::Readiness).await;
    let entry = readiness.entry("a").expect("added");
    assert_eq!(
        (entry.status, entry.reason),
        (Status::Unknown, Some(Reason::Stale))
    );
}
