//! Starting, started, maintenance and draining, and which probes and groups show them.

use tokio::time::{Instant, advance, sleep};
use tower_health::{Dependency, Health, Probe, Reason, Status};

use super::fixtures::{MS, SECOND, health, next_status, refused, status, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

#[tokio::test(start_paused = true)]
async fn startup_latches_when_all_required_are_up() {
    let (required, optional) = (Switch::off(), Switch::off());
    let health = Health::builder()
        .check("required", required.check())
        .add(Dependency::new("optional", optional.check()).optional())
        .build();
    let startup = async || next_status(&health, Probe::Startup).await;
    let before = health.snapshot_for(&Probe::Readiness);
    assert_eq!(before.status, Status::Unknown);
    let report = health.report_for(&Probe::Startup).await;
    let found = (report.status, report.reason);
    assert_eq!(found, (Status::Down, Some(Reason::Starting)));
    // One that is added meanwhile counts until it is removed.
    let late = Dependency::new("late", refused);
    health.add(late).expect("a new name");
    required.set(true);
    assert_eq!(startup().await, Status::Down);
    assert!(health.remove("late"));
    assert_eq!(startup().await, Status::Up);
    required.set(false);
    assert_eq!((startup().await, health.is_started()), (Status::Up, true));
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
async fn each_change_shows_in_readiness_and_groups_at_once() {
    // Only the start requires it.
    let mail = Dependency::new("mail", refused).optional();
    let health = Health::builder()
        .add(Dependency::new("search", up).group("storage"))
        .add(mail.required_for(Probe::Startup))
        .build();
    let layer = LayerClient::new(&health).0;
    let client = LayerClient(layer.path("/storagez", Probe::group("storage")));
    type Change = fn(&Health);
    let enter: Change = |health| health.enter_maintenance("moving the disk");
    let drain: Change = |health| health.set_draining(true);
    let end_drain: Change = |health| health.set_draining(false);
    let changes: [(Change, Option<Reason>); 9] = [
        (|_| (), Some(Reason::Starting)),
        (Health::set_started, None),
        (enter, Some(Reason::Maintenance)),
        (drain, Some(Reason::Draining)),
        (end_drain, Some(Reason::Maintenance)),
        (Health::exit_maintenance, None),
        (drain, Some(Reason::Draining)),
        (Health::exit_maintenance, Some(Reason::Draining)),
        (end_drain, None),
    ];
    for (change, reason) in changes {
        change(&health);
        // Twice: the second answer is cached. Only the next change can invalidate it, as no time passes.
        for path in ["/readyz", "/readyz", "/storagez", "/storagez"] {
            let (code, body) = client.json(path).await;
            assert_eq!(code == 200, reason.is_none(), "{path}: {body}");
            let found = body["reason"].as_str();
            assert_eq!(found, reason.map(Reason::as_str), "{path}: {body}");
            let message = (reason == Some(Reason::Maintenance)).then_some("moving the disk");
            assert_eq!(body["message"].as_str(), message, "{path}: {body}");
        }
        for path in ["/livez", "/startupz", "/health"] {
            let waits = path == "/startupz" && reason == Some(Reason::Starting);
            assert_eq!(client.code(path).await == 503, waits, "{path} {reason:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_maintenance_message_counts() {
    let health = Health::builder().build();
    health.exit_maintenance();
    assert_eq!(health.maintenance_message(), None);
    for (message, line) in [("first", "first"), ("a\r\nforged: up", "a  forged: up")] {
        health.enter_maintenance(message);
        assert_eq!(health.maintenance_message().as_deref(), Some(line));
    }
    health.enter_maintenance("");
    let report = health.snapshot_for(&Probe::Readiness);
    let found = (report.reason, report.message);
    assert_eq!(found, (Some(Reason::Maintenance), None));
    // One exit ends maintenance, however often it was entered.
    health.exit_maintenance();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn out_of_rotation_runs_go_on_and_callers_do_not_wait() {
    let changes: [fn(&Health); 2] = [
        |health| health.enter_maintenance("moving the disk"),
        |health| health.set_draining(true),
    ];
    for leave_rotation in changes {
        let switch = Switch::on();
        let health = health(Dependency::new("a", switch.check()).group("g"));
        let entry = async |probe: &Probe| health.report_for(probe).await.entries.remove(0);
        health.report().await;
        leave_rotation(&health);
        let shown = entry(&Probe::Readiness).await;
        assert_eq!(shown.status, Status::Up, "is not expired");
        switch.set(false);
        // Just past its lifetime at first.
        for (probe, passed) in [
            (Probe::Readiness, 1_500 * MS),
            (Probe::group("g"), 6 * SECOND),
        ] {
            sleep(passed).await;
            // The run that is due starts, and the report shows what is known: it is too old.
            let (before, runs) = (Instant::now(), switch.runs());
            let shown = entry(&probe).await;
            assert_eq!(before, Instant::now());
            let found = (shown.status, shown.reason);
            assert_eq!(found, (Status::Unknown, Some(Reason::Stale)), "{probe}");
            sleep(100 * MS).await;
            assert_eq!(switch.runs(), runs + 1, "{probe}");
            assert_eq!(entry(&probe).await.reason, Some(Reason::Refused));
        }
    }
}
