//! Dependencies that come and go while the app runs.

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::helpers::layer_client::LayerClient;
use tokio::{
    sync::{Notify, Semaphore},
    task::yield_now,
    time::{advance, sleep},
};
use tower_health::{
    CheckResult, Dependency, Failure, Health, Outcome, Probe, Reason, Status, health::AddErrorKind,
};

const SECOND: Duration = Duration::from_secs(1);

fn up() -> Ready<CheckResult> {
    ready(Ok(Outcome::up()))
}

fn refused() -> Ready<CheckResult> {
    ready(Err(Failure::new(Reason::Refused)))
}

/// A check that runs until it is let go, and then fails; the count of its runs.
fn held(
    gate: &Arc<Semaphore>,
) -> (
    Arc<AtomicUsize>,
    impl Fn() -> std::pin::Pin<Box<dyn Future<Output = CheckResult> + Send>> + use<>,
) {
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    let counter = runs.clone();
    (runs, move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let gate = gate.clone();
        Box::pin(async move {
            gate.acquire().await.expect("open").forget();
            Err(Failure::new(Reason::Refused))
        })
    })
}

fn names(health: &Health) -> Vec<String> {
    let entries = health.snapshot().entries;
    entries.iter().map(|entry| entry.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_added_one_counts_from_the_next_question_on() {
    let health = Health::builder().check("a", up).build();
    let face = LayerClient::new(&health);
    let app = (200, String::new());
    // The first answer starts the app, which spoils it; the second one is kept.
    for _ in 0..2 {
        assert_eq!(face.json("/readyz").await.0, 200);
    }
    assert_eq!(face.get("/health/b").await, app);
    // No time passes: the answer that is kept must be spoiled by the change alone.
    health.add(Dependency::new("b", refused)).expect("new");
    let (code, body) = face.json("/readyz").await;
    assert_eq!(
        (code, &body["checks"]["b"]["reason"]),
        (503, &"refused".into())
    );
    assert_eq!(face.json("/health/b").await.0, 503);
    assert!(health.remove("b"));
    let (code, body) = face.json("/readyz").await;
    assert_eq!(
        (code, body["checks"].as_object().map(|all| all.len())),
        (200, Some(1))
    );
    assert_eq!(face.get("/health/b").await, app);
    assert!(!health.remove("b"));
}

#[tokio::test(start_paused = true)]
async fn one_without_a_verdict_is_not_ready() {
    let health = Health::builder().check("a", up).build();
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
    health.add(Dependency::new("b", up)).expect("new");
    let before = health.snapshot_for(&Probe::Readiness);
    assert_eq!(before.status, Status::Unknown);
    assert_eq!(before.entries[1].reason, Some(Reason::Pending));
    // Whoever asks waits for the run: no prober sees a dependency that works come.
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
    health
        .add(Dependency::new("c", up).optional())
        .expect("new");
    assert_eq!(
        health.snapshot_for(&Probe::Readiness).status,
        Status::Degraded
    );
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_one_runs_at_once() {
    let health = Health::builder().refresh_every(60 * SECOND).build();
    assert_eq!(health.report().await.status, Status::Up);
    health.add(Dependency::new("a", up)).expect("new");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(health.snapshot().status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_an_error_and_changes_nothing() {
    let health = Health::builder().check("a", up).build();
    let error = health
        .add(Dependency::new("a", refused))
        .expect_err("taken");
    assert_eq!((error.kind(), error.name()), (AddErrorKind::NameTaken, "a"));
    assert_eq!(error.to_string(), r#"dependency "a" already exists"#);
    assert_eq!(health.report().await.status, Status::Up);
    assert_eq!(names(&health), ["a"]);
}

#[test]
fn a_name_from_outside_is_an_error_and_no_panic() {
    let long = "x".repeat(101);
    for name in ["", "a/b", "a\nb", &long] {
        let error = Dependency::try_new(name.to_owned(), up).expect_err(name);
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    assert!(Dependency::try_new("tenant-7", up).is_ok());
}

#[test]
fn their_number_is_bounded() {
    let health = Health::builder().check("a", up).build();
    for number in 1..1_000 {
        let one = Dependency::new(format!("tenant-{number}"), up);
        health.add(one).expect("within the bound");
    }
    let error = health.add(Dependency::new("b", up)).expect_err("too many");
    assert_eq!(error.kind(), AddErrorKind::TooMany);
    assert!(health.remove("tenant-7"));
    health
        .add(Dependency::new("b", up))
        .expect("there is room again");
    assert_eq!(names(&health).last().map(String::as_str), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn the_run_of_a_removed_one_is_not_heard() {
    let gate = Arc::new(Semaphore::new(0));
    let (runs, check) = held(&gate);
    let health = Health::builder().check("a", up).check("b", check).build();
    let face = LayerClient::new(&health);
    let caller = tokio::spawn({
        let face = face.clone();
        async move { face.json("/readyz").await }
    });
    while runs.load(Ordering::SeqCst) == 0 {
        yield_now().await;
    }
    assert!(health.remove("b"));
    gate.add_permits(1);
    // Who asked before the removal, and was answered after it, hears no more of it either.
    let (code, body) = caller.await.expect("no panic");
    assert_eq!((code, body["checks"].get("b")), (200, None));
    let (code, body) = face.json("/readyz").await;
    assert_eq!((code, body["checks"].get("b")), (200, None));
    assert_eq!(names(&health), ["a"]);

    // The next one of that name has no past.
    health.add(Dependency::new("b", up)).expect("free again");
    let entry = health.snapshot().entries.remove(1);
    assert_eq!(
        (entry.status, entry.consecutive_failures),
        (Status::Unknown, 0)
    );
    assert_eq!(face.json("/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_an_addition_serves_nobody_after_it() {
    let gate = Arc::new(Notify::new());
    let started = Arc::new(Notify::new());
    let slow = {
        let (gate, started) = (gate.clone(), started.clone());
        move || {
            let (gate, started) = (gate.clone(), started.clone());
            async move {
                started.notify_one();
                gate.notified().await;
                Ok(Outcome::up())
            }
        }
    };
    let health = Health::builder().check("slow", slow).build();
    health.set_started();
    let face = LayerClient::new(&health);
    let early = tokio::spawn({
        let face = face.clone();
        async move { face.json("/readyz").await }
    });
    started.notified().await;
    health.add(Dependency::new("b", refused)).expect("new");
    gate.notify_one();
    let (code, body) = early.await.expect("no panic");
    assert_eq!((code, body["checks"].get("b")), (200, None));
    assert_eq!(face.json("/readyz").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn startup_waits_for_added_ones_and_never_goes_back() {
    let health = Health::builder().check("a", refused).build();
    assert_eq!(
        health.report_for(&Probe::Startup).await.status,
        Status::Down
    );
    health.add(Dependency::new("b", up)).expect("new");
    assert!(health.remove("a"));
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    health.add(Dependency::new("c", refused)).expect("new");
    assert_eq!(health.report_for(&Probe::Startup).await.status, Status::Up);
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Down
    );
}

#[tokio::test(start_paused = true)]
async fn a_removed_one_is_let_go() {
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
fn one_may_be_added_from_a_thread_outside_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let builder = Health::builder().refresh_every(Duration::from_millis(10));
    let health = runtime.block_on(async { builder.build() });
    health.add(Dependency::new("a", up)).expect("new");
    // Nothing could run here, which is no failure of the dependency.
    assert_ne!(health.snapshot().status, Status::Down);
    runtime.block_on(async {
        while health.report().await.status != Status::Up {
            sleep(Duration::from_millis(1)).await;
        }
    });
}
