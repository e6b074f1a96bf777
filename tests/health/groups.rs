//! Named groups of dependencies are probes.

use tower_health::{
    Access, Dependency, Health, HealthLayer, Probe, Reason, Status, report::Report,
};

use super::fixtures::{refused, status, up};
use crate::helpers::layer_client::LayerClient;

async fn group(health: &Health, name: &'static str) -> Report {
    health.report_for(&Probe::group(name)).await
}

fn names(report: &Report) -> Vec<&str> {
    report.entries.iter().map(|entry| &*entry.name).collect()
}

fn client(health: &Health, paths: &[(&'static str, &'static str)]) -> LayerClient {
    let layer = HealthLayer::new(health.clone()).details(Access::everybody());
    let add = |layer: HealthLayer, &(path, name)| layer.path(path, Probe::group(name));
    LayerClient(paths.iter().fold(layer, add))
}

#[tokio::test(start_paused = true)]
async fn a_group_reports_its_members_alone() {
    let health = Health::builder()
        .group("storage", ["orders", "search"])
        .check("orders", up)
        .check("search", up)
        .add(Dependency::new("files", up).group("storage").group("slow"))
        .check("mail", refused)
        .add(
            Dependency::new("audit", refused)
                .group("slow")
                .exclude_from_readiness(),
        )
        // A member may be named twice.
        .group("storage", ["files", "orders"])
        .group("slow", ["mail"])
        .build();
    health.set_started();
    let storage = group(&health, "storage").await;
    assert_eq!(storage.status, Status::Up);
    assert_eq!(names(&storage), ["orders", "search", "files"]);
    let slow = group(&health, "slow").await;
    assert_eq!(slow.status, Status::Down);
    assert_eq!(names(&slow), ["files", "mail", "audit"]);
    assert_eq!(status(&health, Probe::Full).await, Status::Down);
    let client = client(&health, &[("/storagez", "storage"), ("/slowz", "slow")]);
    for (path, expected) in [
        ("/storagez", 200),
        ("/storagez/orders", 200),
        // Not a member: the inner service answers.
        ("/storagez/mail", 200),
        ("/slowz", 503),
        ("/slowz/mail", 503),
    ] {
        assert_eq!(client.code(path).await, expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_group_is_up_and_an_unknown_one_is_not_found() {
    let builder = Health::builder().group("declared", None::<&str>);
    let health = builder
        .add(Dependency::new("search", up).group("storage"))
        .build();
    health.set_started();
    let client = client(
        &health,
        &[("/declared", "declared"), ("/storage", "storage")],
    );
    assert_eq!(client.code("/declared").await, 200);
    assert_eq!(client.code("/storage").await, 200);
    let tenant = Dependency::new("tenant-7", refused).group("declared");
    health.add(tenant).expect("a new name");
    assert_eq!(client.code("/declared").await, 503);
    assert!(health.remove("tenant-7"));
    assert_eq!(client.code("/declared").await, 200);
    // A group that was not declared ends with its last member.
    assert!(health.remove("search"));
    assert_eq!(client.code("/storage").await, 503);
    let unknown = group(&health, "sotrage").await;
    let found = (unknown.status, unknown.reason);
    assert_eq!(found, (Status::Unknown, Some(Reason::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn a_group_follows_the_lifecycle_as_readiness_does() {
    let health = Health::builder()
        .add(Dependency::new("search", up).group("storage"))
        .check("mail", refused)
        .build();
    let client = client(&health, &[("/storagez", "storage")]);
    type Change = fn(&Health);
    let changes: [(Change, u16, Option<Reason>); 6] = [
        (|_| (), 503, Some(Reason::Starting)),
        (Health::set_started, 200, None),
        (
            |health| health.enter_maintenance("moving the disk"),
            503,
            Some(Reason::Maintenance),
        ),
        (Health::exit_maintenance, 200, None),
        (
            |health| health.set_draining(true),
            503,
            Some(Reason::Draining),
        ),
        (|health| health.set_draining(false), 200, None),
    ];
    for (change, code, reason) in changes {
        change(&health);
        assert_eq!(client.code("/storagez").await, code, "{reason:?}");
        assert_eq!(group(&health, "storage").await.reason, reason);
    }
}

/// No other probe may be called: the report checks all that the start needs.
#[tokio::test(start_paused = true)]
async fn an_app_starts_if_only_a_group_is_probed() {
    let health = Health::builder()
        .add(Dependency::new("search", up).group("storage"))
        .check("mail", up)
        .build();
    let storage = group(&health, "storage").await;
    assert_eq!(storage.status, Status::Up);
    assert_eq!(names(&storage), ["search"]);
    assert!(health.is_started());
}

#[test]
#[should_panic(expected = r#"group "storage": no dependency "serach" exists"#)]
fn an_unknown_member_panics_at_build() {
    let builder = Health::builder().check("search", up);
    builder.group("storage", ["serach"]).build();
}
