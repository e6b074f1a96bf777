//! Named groups of dependencies are probes of their own.

use crate::helpers::layer_client::LayerClient;
use tower_health::{
    Access, CheckResult, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason, Status,
    report::Report,
};

async fn up() -> CheckResult {
    Ok(Outcome::up())
}

async fn down() -> CheckResult {
    Err(Failure::new(Reason::Refused))
}

async fn group(health: &Health, name: &'static str) -> Report {
    health.report_for(&Probe::group(name)).await
}

fn names(report: &Report) -> Vec<&str> {
    report.entries.iter().map(|entry| &*entry.name).collect()
}

#[tokio::test(start_paused = true)]
async fn members_may_be_named_by_the_builder_and_by_themselves() {
    let health = Health::builder()
        .group("storage", ["orders", "search"])
        .check("orders", up)
        .check("search", up)
        .add(Dependency::new("files", up).group("storage").group("slow"))
        .check("mail", down)
        // Twice is once.
        .group("storage", ["files", "orders"])
        .group("slow", ["mail"])
        .build();
    health.set_started();
    let storage = group(&health, "storage").await;
    assert_eq!(names(&storage), ["orders", "search", "files"]);
    assert_eq!(storage.status, Status::Up);
    let slow = group(&health, "slow").await;
    assert_eq!(
        (names(&slow), slow.status),
        (vec!["files", "mail"], Status::Down)
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_a_group_is_answered_over_http_for_its_members_alone() {
    let health = Health::builder()
        .check("orders", up)
        .check("mail", down)
        .group("storage", ["orders"])
        .group("messages", ["mail"])
        .build();
    health.set_started();
    let face = LayerClient(
        HealthLayer::new(health)
            .path("/storagez", Probe::group("storage"))
            .path("/messagesz", Probe::group("messages"))
            .details(Access::everybody()),
    );
    for (path, expected) in [
        ("/storagez", 200),
        ("/storagez/orders", 200),
        // The app's.
        ("/storagez/mail", 200),
        ("/messagesz", 503),
        ("/messagesz/mail", 503),
    ] {
        assert_eq!(face.code(path).await, expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_without_members_is_up_and_takes_those_that_come_later() {
    let health = Health::builder().group("tenants", None::<&str>).build();
    let face =
        LayerClient(HealthLayer::new(health.clone()).path("/tenantsz", Probe::group("tenants")));
    assert_eq!(face.code("/tenantsz").await, 200);
    let tenant = Dependency::new("tenant-7", down).group("tenants");
    health.add(tenant).expect("new");
    assert_eq!(face.code("/tenantsz").await, 503);
    health.remove("tenant-7");
    assert_eq!(face.code("/tenantsz").await, 200);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_neither_declared_nor_named_by_a_member_is_unknown() {
    let health = Health::builder()
        .add(Dependency::new("search", up).group("storage"))
        .build();
    let face =
        LayerClient(HealthLayer::new(health.clone()).path("/storagez", Probe::group("storage")));
    assert_eq!(face.code("/storagez").await, 200);
    let typo = group(&health, "sotrage").await;
    assert_eq!(
        (typo.status, typo.reason),
        (Status::Unknown, Some(Reason::NotFound))
    );
    // It went with its last member.
    health.remove("search");
    assert_eq!(face.code("/storagez").await, 503);
}

#[tokio::test(start_paused = true)]
async fn a_group_follows_the_lifecycle_as_readiness_does() {
    let health = Health::builder()
        .add(Dependency::new("search", up).group("storage"))
        .check("mail", down)
        .build();
    let face = LayerClient(
        HealthLayer::new(health.clone())
            .path("/storagez", Probe::group("storage"))
            .details(Access::everybody()),
    );
    let storage = async || {
        let (code, _) = face.get("/storagez").await;
        (code, group(&health, "storage").await.reason)
    };
    assert_eq!(storage().await, (503, Some(Reason::Starting)));
    health.set_started();
    assert_eq!(storage().await, (200, None));
    health.enter_maintenance("a look inside");
    assert_eq!(storage().await, (503, Some(Reason::Maintenance)));
    health.exit_maintenance();
    assert_eq!(storage().await, (200, None));
    health.set_draining(true);
    assert_eq!(storage().await, (503, Some(Reason::Draining)));
}

/// Nobody else may ask what the group waits for.
#[tokio::test(start_paused = true)]
async fn asked_for_a_group_alone_the_app_starts() {
    let health = Health::builder()
        .add(Dependency::new("search", up).group("storage"))
        .check("mail", up)
        .build();
    let storage = group(&health, "storage").await;
    assert_eq!(
        (storage.status, names(&storage)),
        (Status::Up, vec!["search"])
    );
    assert!(health.is_started());
}

#[test]
#[should_panic(expected = r#"group "storage": no dependency "serach" exists"#)]
fn an_unknown_member_is_refused_at_build() {
    let builder = Health::builder().check("search", up);
    builder.group("storage", ["serach"]).build();
}
