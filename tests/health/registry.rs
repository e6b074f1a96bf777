//! Dependencies that are added and removed at run time.

use std::sync::Arc;

use tokio::{
    task::{JoinSet, yield_now},
    time::{advance, sleep, timeout},
};
use tower_health::{
    Dependency, Failure, Health, Outcome, Probe, Reason, Status, health::AddErrorKind,
};

use super::fixtures::{MS, SECOND, becomes, published, refused, runtime, status, up};
use crate::{
    helpers::{gate::Gate, layer_client::LayerClient},
    support::MAXIMUM_WAIT,
};

fn names(health: &Health) -> Vec<String> {
    let entries = health.snapshot().entries;
    entries.iter().map(|entry| entry.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_added_dependency_counts_at_once() {
    let health = Health::builder().check("a", up).build();
    let client = LayerClient::new(&health);
    let inner = (200, String::new());
    // The first answer starts the app, which invalidates it; the second one is cached.
    for _ in 0..2 {
        assert_eq!(client.code("/readyz").await, 200);
    }
    assert_eq!(client.get("/health/b").await, inner);
    // No time passes: only the change can invalidate the cached answer.
    health.add(Dependency::new("b", refused)).expect("new");
    let (code, body) = client.json("/readyz").await;
    assert_eq!(
        (code, &body["checks"]["b"]["reason"]),
        (503, &"refused".into())
    );
    assert_eq!(client.code("/health/b").await, 503);
    assert!(health.remove("b"));
    let (code, body) = client.json("/readyz").await;
    assert_eq!((code, body["checks"].get("b")), (200, None));
    assert_eq!(client.get("/health/b").await, inner);
    assert!(!health.remove("b"));
}

#[tokio::test(start_paused = true)]
async fn an_added_dependency_without_a_result_is_unknown() {
    let health = Health::builder().check("a", up).build();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
    health.add(Dependency::new("b", up)).expect("new");
    let before = health.snapshot_for(&Probe::Readiness);
    assert_eq!(before.status, Status::Unknown);
    assert_eq!(before.entries[1].reason, Some(Reason::Pending));
    // A caller waits for the run, so that no prober gets `unknown`.
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);
    health
        .add(Dependency::new("c", up).optional())
        .expect("new");
    let before = health.snapshot_for(&Probe::Readiness);
    assert_eq!(before.status, Status::Degraded);
}

#[tokio::test(start_paused = true)]
async fn with_a_refresh_an_added_dependency_runs_at_once() {
    let health = Health::builder().refresh_every(60 * SECOND).build();
    assert_eq!(health.report().await.status, Status::Up);
    health.add(Dependency::new("a", up)).expect("new");
    sleep(MS).await;
    assert_eq!(health.snapshot().status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_valid_and_bounded_in_number() {
    let health = Health::builder().check("a", up).build();
    let error = health
        .add(Dependency::new("a", refused))
        .expect_err("taken");
    assert_eq!((error.kind(), error.name()), (AddErrorKind::NameTaken, "a"));
    assert_eq!(error.to_string(), r#"dependency "a" already exists"#);
    assert_eq!(health.report().await.status, Status::Up);
    assert_eq!(names(&health), ["a"]);

    let long = "x".repeat(101);
    for name in ["", "a/b", "a\nb", &long] {
        let error = Dependency::try_new(name.to_owned(), up).expect_err(name);
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    for number in 1..1_000 {
        let tenant = Dependency::try_new(format!("tenant-{number}"), up);
        health
            .add(tenant.expect("valid"))
            .expect("within the limit");
    }
    let error = health.add(Dependency::new("b", up)).expect_err("too many");
    assert_eq!(error.kind(), AddErrorKind::TooMany);
    assert!(health.remove("tenant-7"));
    health.add(Dependency::new("b", up)).expect("there is room");
    assert_eq!(names(&health).last().map(String::as_str), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_removed_dependency_is_left_out_though_its_run_ends() {
    let gate = Gate::new();
    let health = Health::builder()
        .check("a", up)
        .check("b", gate.check())
        .build();
    let client = LayerClient::new(&health);
    let caller = tokio::spawn({
        let client = client.clone();
        async move { client.json("/readyz").await }
    });
    while gate.runs() == 0 {
        yield_now().await;
    }
    assert!(health.remove("b"));
    gate.pass.add_permits(1);
    for (code, body) in [
        caller.await.expect("no panic"),
        client.json("/readyz").await,
    ] {
        assert_eq!((code, body["checks"].get("b")), (200, None));
    }
    assert_eq!(names(&health), ["a"]);
    // The next dependency with that name has no past.
    health.add(Dependency::new("b", up)).expect("free again");
    let entry = health.snapshot().entries.remove(1);
    assert_eq!(entry.status, Status::Unknown);
    assert_eq!(client.code("/readyz").await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_an_addition_is_not_cached() {
    let gate = Gate::new();
    let health = Health::builder().check("slow", gate.check()).build();
    health.set_started();
    let client = LayerClient::new(&health);
    let early = tokio::spawn({
        let client = client.clone();
        async move { client.json("/readyz").await }
    });
    while gate.runs() == 0 {
        yield_now().await;
    }
    health.add(Dependency::new("b", refused)).expect("new");
    gate.pass.add_permits(1);
    let (code, body) = early.await.expect("no panic");
    assert_eq!((code, body["checks"].get("b")), (200, None));
    assert_eq!(client.code("/readyz").await, 503);
}

#[tokio::test(start_paused = true)]
async fn startup_waits_for_added_dependencies_and_latches() {
    let health = Health::builder().check("a", refused).build();
    assert_eq!(status(&health, Probe::Startup).await, Status::Down);
    health.add(Dependency::new("b", up)).expect("new");
    assert!(health.remove("a"));
    assert_eq!(status(&health, Probe::Startup).await, Status::Up);
    health.add(Dependency::new("c", refused)).expect("new");
    assert_eq!(status(&health, Probe::Startup).await, Status::Up);
    assert_eq!(status(&health, Probe::Readiness).await, Status::Down);
}

#[tokio::test(start_paused = true)]
async fn the_check_of_a_removed_dependency_is_dropped() {
    let pool = Arc::new(());
    let check = {
        let pool = pool.clone();
        move || {
            let _pool = &pool;
            up()
        }
    };
    let health = Health::builder().check("tenant", check).build();
    assert_eq!(health.report().await.status, Status::Up);
    assert_eq!(Arc::strong_count(&pool), 2);
    assert!(health.remove("tenant"));
    advance(SECOND).await;
    assert_eq!(Arc::strong_count(&pool), 1);
}

#[test]
fn a_dependency_may_be_added_outside_the_runtime() {
    let runtime = runtime();
    let builder = Health::builder().refresh_every(10 * MS);
    let health = runtime.block_on(async { builder.build() });
    health.add(Dependency::new("a", up)).expect("new");
    // No run can start here, which is not a failure of the dependency.
    assert_ne!(health.snapshot().status, Status::Down);
    runtime.block_on(becomes(&health, Status::Up));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_count_at_once_and_leave_no_trace() {
    let health = Health::builder().check("a", up).build();
    let mut changes = JoinSet::new();
    for number in 0..3 {
        let health = health.clone();
        changes.spawn(async move {
            let name = format!("tenant-{number}");
            for _ in 0..300 {
                let tenant = Dependency::new(name.clone(), refused);
                health.add(tenant).expect("only this task uses the name");
                assert_eq!(health.report().await.status, Status::Down);
                assert!(health.remove(&name));
                assert!(health.report().await.entry(&name).is_none());
            }
        });
    }
    changes.join_all().await;
    assert_eq!(names(&health), ["a"]);
    assert_eq!(health.report().await.status, Status::Up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_is_used_again_has_no_past() {
    let health = Health::builder().check("a", up).build();
    let client = LayerClient::new(&health);
    let mut transitions = health.subscribe();
    for round in 0..300_u64 {
        // Fails within some microseconds of its removal, before or after.
        let failing = move || async move {
            for _ in 0..round % 20 {
                yield_now().await;
            }
            Err::<Outcome, _>(Failure::new(Reason::Refused))
        };
        health.add(Dependency::new("x", failing)).expect("free");
        let caller = tokio::spawn({
            let client = client.clone();
            async move { client.json("/readyz").await }
        });
        for _ in 0..round % 23 {
            yield_now().await;
        }
        assert!(health.remove("x"));
        // Transitions of a removed dependency are dropped, and no others follow.
        while let Some(old) = published(&mut transitions).await {
            assert_eq!(&*old.name, "a", "{old:?}");
        }
        health.add(Dependency::new("x", up)).expect("free again");
        let (code, body) = client.json("/readyz").await;
        let found = (code, &body["checks"]["x"]["status"]);
        assert_eq!(found, (200, &"up".into()), "{body}");
        caller.await.expect("no panic");
        // The answer to that caller is from before the change, and is not cached.
        assert_eq!(client.code("/readyz").await, 200);
        let next = timeout(MAXIMUM_WAIT, transitions.recv()).await;
        let next = next.expect("in time").expect("a handle lives");
        let found = (&*next.name, next.from, next.to);
        assert_eq!(found, ("x", Status::Unknown, Status::Up));
        assert!(health.remove("x"));
    }
}
