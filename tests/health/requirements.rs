//! What a dependency is required for, and groups of dependencies, which are probes.

use tower_health::{Dependency, Health, Probe, Reason, Status};

use super::fixtures::{known, next_status, refused, status, up};
use crate::helpers::{layer_client::LayerClient, switch::Switch};

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

/// With a path for each of these groups.
fn client(health: &Health, paths: [&'static str; 2]) -> LayerClient {
    let mut layer = LayerClient::new(health).0;
    for path in paths {
        layer = layer.path(path, Probe::group(&path[1..]));
    }
    LayerClient(layer)
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
    let client = client(&health, ["/storage", "/slow"]);
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
async fn an_empty_group_is_up_and_an_unknown_one_is_not_found() {
    let health = Health::builder()
        .group("declared", None::<&str>)
        .add(Dependency::new("search", up).group("storage"))
        .check("mail", up)
        .build();
    let client = client(&health, ["/declared", "/storage"]);
    // No other probe has been called: the first answer checks all that the start needs.
    let storage = group(&health, "storage").await;
    assert_eq!(storage, (Status::Up, vec!["search".to_owned()]));
    assert!(health.is_started());
    assert_eq!(client.code("/declared").await, 200);
    let tenant = Dependency::new("tenant-7", refused).group("declared");
    health.add(tenant).expect("a new name");
    assert_eq!(client.code("/declared").await, 503);
    assert!(health.remove("tenant-7"));
    assert_eq!(client.code("/declared").await, 200);
    // A group that was not declared ends with its last member.
    assert!(health.remove("search"));
    let (code, body) = client.json("/storage").await;
    let expected = Reason::NotFound.as_str();
    assert_eq!((code, body["reason"].as_str()), (503, Some(expected)));
}
