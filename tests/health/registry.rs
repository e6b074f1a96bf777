//! The dependencies of a handle: added and removed at run time, required for probes or not, and in groups.

use std::sync::Arc;

use tokio::{
    join,
    task::{JoinSet, yield_now},
    time::sleep,
};
use tower_health::{Dependency, Health, Probe, Reason, Status, health::AddErrorKind};

use super::fixtures::{
    MS, SECOND, becomes, checked, known, next_status, refused, runtime, status, up,
};
use crate::helpers::{gate::Gate, layer_client::LayerClient, switch::Switch};

#[tokio::test(start_paused = true)]
async fn an_added_dependency_counts_at_once() {
    let health = checked(up);
    let client = LayerClient::new(&health);
    // The first answer starts the app, which invalidates it; the second one is cached.
    for _ in 0..2 {
        assert_eq!(client.code("/readyz").await, 200);
    }
    // No time passes: only the change can invalidate the cached answer.
    health.add(Dependency::new("b", refused)).expect("new");
    let (code, body) = client.json("/readyz").await;
    let found = (code, &body["checks"]["b"]["reason"]);
    assert_eq!(found, (503, &"refused".into()));
    assert_eq!(client.code("/health/b").await, 503);
    assert!(health.remove("b"));
    let (code, body) = client.json("/readyz").await;
    assert_eq!((code, body["checks"].get("b")), (200, None));
    assert_eq!(client.get("/health/b").await.1, "inner");
    assert!(!health.remove("b"));
}

#[test]
fn with_a_refresh_an_added_dependency_runs_at_once() {
    let runtime = runtime();
    let builder = Health::builder().refresh_every(3_600 * SECOND);
    let health = runtime.block_on(async { builder.build() });
    // Outside the runtime no run can start, which is not a failure of the dependency.
    health.add(Dependency::new("a", up)).expect("new");
    assert_ne!(health.snapshot().status, Status::Down);
    runtime.block_on(becomes(&health, Status::Up));
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_valid_and_bounded_in_number() {
    let health = checked(up);
    let add = |name: String| health.add(Dependency::try_new(name, refused).expect("valid"));
    let error = add("a".to_owned()).expect_err("taken");
    assert_eq!((error.kind(), error.name()), (AddErrorKind::NameTaken, "a"));
    assert_eq!(error.to_string(), r#"dependency "a" already exists"#);
    let invalid = Dependency::try_new("a\nb", up).expect_err("two lines");
    assert!(!invalid.to_string().contains('\n'), "{invalid}");
    for number in 1..1_000 {
        add(format!("tenant-{number}")).expect("within the limit");
    }
    let error = add("b".to_owned()).expect_err("too many");
    assert_eq!(error.kind(), AddErrorKind::TooMany);
    assert!(health.remove("tenant-7"));
    add("b".to_owned()).expect("there is room");
    let entries = health.snapshot().entries;
    assert_eq!((entries.len(), &*entries[999].name), (1_000, "b"));
}

#[tokio::test(start_paused = true)]
async fn changes_during_a_run_count_for_the_next_caller() {
    let gate = Gate::new();
    let builder = Health::builder().check("a", up);
    let health = builder.check("b", gate.check()).build();
    health.set_started();
    let client = LayerClient::new(&health);
    let changes = async {
        while gate.runs() == 0 {
            yield_now().await;
        }
        assert!(health.remove("b"));
        health.add(Dependency::new("c", refused)).expect("new");
        gate.pass.add_permits(1);
    };
    let ((code, body), ()) = join!(client.json("/readyz"), changes);
    let of = |name| body["checks"].get(name);
    assert_eq!((code, of("b"), of("c")), (200, None, None));
    // That answer is not cached.
    assert_eq!(client.code("/readyz").await, 503);
    // The next dependency with that name has no past.
    health.add(Dependency::new("b", up)).expect("free again");
    let entry = health.snapshot().entries.remove(2);
    let found = (entry.status, entry.reason);
    assert_eq!(found, (Status::Unknown, Some(Reason::Pending)));
}

#[tokio::test(start_paused = true)]
async fn a_check_is_dropped_with_its_dependency_or_the_last_handle() {
    for is_removed in [true, false] {
        let gate = Gate::new();
        let tenant = Dependency::new("tenant", gate.check()).timeout(3_600 * SECOND);
        let health = Health::builder().add(tenant).answer_within(MS).build();
        // The check and its run, which is in flight.
        health.report().await;
        assert_eq!(Arc::strong_count(&gate.pass), 3);
        let handle = is_removed.then(|| health.clone());
        if let Some(health) = &handle {
            assert!(health.remove("tenant"));
        }
        drop(health);
        sleep(SECOND).await;
        assert_eq!(Arc::strong_count(&gate.pass), 1, "{is_removed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_count_at_once_and_leave_no_trace() {
    let health = checked(up);
    let mut changes = JoinSet::new();
    for number in 0..3 {
        let health = health.clone();
        changes.spawn(async move {
            let name = format!("tenant-{number}");
            for round in 0..300 {
                let tenant = Dependency::new(name.clone(), refused);
                health.add(tenant).expect("only this task uses the name");
                if round % 2 == 0 {
                    assert_eq!(health.report().await.status, Status::Down);
                }
                assert!(health.remove(&name));
                assert!(health.report().await.entry(&name).is_none());
            }
        });
    }
    changes.join_all().await;
    let report = health.report().await;
    assert_eq!((report.status, report.entries.len()), (Status::Up, 1));
}

#[tokio::test(start_paused = true)]
async fn required_until_started_is_required_until_first_up() {
    // Whether the app starts before it is added, or afterwards; else it starts with it.
    for (before, after) in [(false, false), (false, true), (true, false)] {
        let ledger = Switch::off();
        let health = Health::builder().build();
        if before {
            health.set_started();
        }
        let dependency = Dependency::new("ledger", ledger.check());
        let added = health.add(dependency.required_until_started());
        added.expect("a new name");
        if after {
            health.set_started();
        }
        for (is_up, expected) in [
            (false, Status::Down),
            (true, Status::Up),
            (false, Status::Degraded),
        ] {
            ledger.set(is_up);
            for probe in [Probe::Readiness, Probe::Full] {
                let found = next_status(&health, probe.clone()).await;
                assert_eq!(found, expected, "{probe}");
            }
            let is_ready = health.ensure_ready().await.is_ok();
            assert_eq!(is_ready, expected != Status::Down);
        }
        let entry = known(&health);
        assert_eq!((entry.status, entry.required), (Status::Down, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_requirement_may_differ_per_probe_and_group() {
    let orders = Probe::group("orders");
    let ledger = Dependency::new("ledger", refused).optional();
    let audit = Dependency::new("audit", refused).group("audits");
    let health = Health::builder()
        .add(ledger.group("orders").required_for(orders.clone()))
        .add(audit.optional_for(Probe::Readiness))
        .build();
    // Startup follows readiness: neither gates the start.
    assert_eq!(status(&health, Probe::Readiness).await, Status::Degraded);
    assert!(health.is_started());
    for probe in [orders, Probe::group("audits"), Probe::Full] {
        let found = status(&health, probe.clone()).await;
        assert_eq!(found, Status::Down, "{probe}");
    }
}

/// The status of the group `name`, and the names of its members.
async fn group(health: &Health, name: &'static str) -> (Status, Vec<String>) {
    let report = health.report_for(&Probe::group(name)).await;
    let names = report.entries.iter().map(|entry| entry.name.to_string());
    (report.status, names.collect())
}

#[tokio::test(start_paused = true)]
async fn a_group_reports_its_members_alone() {
    let audit = Dependency::new("audit", refused).group("slow");
    let health = Health::builder()
        .group("storage", ["orders", "search"])
        .check("orders", up)
        .check("search", up)
        .add(Dependency::new("files", up).group("storage").group("slow"))
        .check("mail", refused)
        .add(audit.exclude_from_readiness())
        // A member may be named twice.
        .group("storage", ["files", "orders"])
        .group("slow", ["mail"])
        .build();
    health.set_started();
    let of = |names: [&str; 3]| names.map(str::to_owned).to_vec();
    let storage = group(&health, "storage").await;
    assert_eq!(storage, (Status::Up, of(["orders", "search", "files"])));
    let slow = group(&health, "slow").await;
    assert_eq!(slow, (Status::Down, of(["files", "mail", "audit"])));
    let layer = LayerClient::new(&health).0;
    let layer = layer.path("/storage", Probe::group("storage"));
    let client = LayerClient(layer.path("/slow", Probe::group("slow")));
    for (path, expected) in [
        ("/storage", 200),
        ("/storage/orders", 200),
        // Not a member: the inner service answers.
        ("/storage/mail", 200),
        ("/slow", 503),
        ("/slow/mail", 503),
    ] {
        assert_eq!(client.code(path).await, expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_start_and_ends_with_its_last_member() {
    let builder = Health::builder().add(Dependency::new("search", up).group("storage"));
    let health = builder.check("mail", up).build();
    // No other probe has been called: the report checks all that the start needs.
    let storage = group(&health, "storage").await;
    assert_eq!(storage, (Status::Up, vec!["search".to_owned()]));
    assert!(health.is_started());
    assert!(health.remove("search"));
    let report = health.report_for(&Probe::group("storage")).await;
    let found = (report.status, report.reason);
    assert_eq!(found, (Status::Unknown, Some(Reason::NotFound)));
}
