//! Starting, started, maintenance and draining: which probes show them, and an app that waits for its start.

use std::{error::Error, future::ready, time::Duration};

use tokio::{
    join,
    time::{Instant, advance, sleep},
};
use tower_health::{Dependency, Failure, Health, Probe, Reason, Status, health::NotReady};

use super::fixtures::{MS, SECOND, checked, health, next_status, refused, slow, status, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

#[tokio::test(start_paused = true)]
async fn startup_latches_when_all_required_are_up() {
    let (required, optional) = (Switch::off(), Switch::off());
    let health = Health::builder()
        .check("required", required.check())
        .add(Dependency::new("optional", optional.check()).optional())
        .add(Dependency::new("aside", refused).exclude_from_readiness())
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
    type Change = fn(&Health);
    let enter: Change = |health| health.enter_maintenance("moving the disk");
    let drain: Change = |health| health.set_draining(true);
    for (leave_rotation, probe) in [(enter, Probe::Readiness), (drain, Probe::group("g"))] {
        let switch = Switch::on();
        let health = health(Dependency::new("a", switch.check()).group("g"));
        let entry = async || health.report_for(&probe).await.entries.remove(0);
        health.report().await;
        leave_rotation(&health);
        assert_eq!(entry().await.status, Status::Up, "is not expired");
        switch.set(false);
        // Just past its lifetime at first.
        for passed in [1_500 * MS, 6 * SECOND] {
            sleep(passed).await;
            // The run that is due starts, and the report shows what is known: it is too old.
            let (before, runs) = (Instant::now(), switch.runs());
            let shown = entry().await;
            assert_eq!(before, Instant::now());
            let found = (shown.status, shown.reason);
            assert_eq!(found, (Status::Unknown, Some(Reason::Stale)), "{probe}");
            sleep(100 * MS).await;
            assert_eq!(switch.runs(), runs + 1, "{probe}");
            assert_eq!(entry().await.reason, Some(Reason::Refused));
        }
    }
}

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
