//! What a dependency is required for: for the start only, for one probe, for a mapped service.

use std::time::Duration;

use crate::helpers::switch::Switch;
use tokio::time::advance;
use tower_health::{
    Dependency, Health, HealthBuilder, Probe, Reason, Status, health::AddErrorKind,
};

const SECOND: Duration = Duration::from_secs(1);

async fn status(health: &Health, probe: &Probe) -> Status {
    advance(2 * SECOND).await;
    health.report_for(probe).await.status
}

#[tokio::test(start_paused = true)]
async fn required_until_started_gates_the_start_only() {
    let ledger = Switch::off();
    let health = Health::builder()
        .add(Dependency::new("ledger", ledger.check()).required_until_started())
        .build();
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Down);
    let error = health.ensure_ready().await.expect_err("it gates the start");
    assert_eq!(
        error.to_string(),
        "not ready: ledger is down (refused: nobody listens)"
    );
    assert!(!health.is_started());
    ledger.set(true);
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Up);
    assert!(health.is_started());
    ledger.set(false);
    for probe in [Probe::Readiness, Probe::Full] {
        assert_eq!(status(&health, &probe).await, Status::Degraded, "{probe}");
    }
    let report = health.snapshot();
    assert_eq!(
        (report.entries[0].status, report.entries[0].required),
        (Status::Down, false)
    );
    health.ensure_ready().await.expect("it is optional by now");
}

#[tokio::test(start_paused = true)]
async fn after_set_started_it_is_required_until_first_up() {
    let ledger = Switch::off();
    let health = Health::builder()
        .add(Dependency::new("ledger", ledger.check()).required_until_started())
        .build();
    health.set_started();
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Down);
    ledger.set(true);
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Up);
    ledger.set(false);
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Degraded);
}

#[tokio::test(start_paused = true)]
async fn one_added_after_the_start_is_required_until_first_up() {
    let ledger = Switch::off();
    let health = Health::builder().check("a", Switch::on().check()).build();
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Up);
    let late = Dependency::new("ledger", ledger.check()).required_until_started();
    health.add(late).expect("new");
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Down);
    ledger.set(true);
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Up);
    ledger.set(false);
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Degraded);
}

#[tokio::test(start_paused = true)]
async fn a_requirement_may_differ_per_probe_and_group() {
    let orders = Probe::group("orders");
    let health = Health::builder()
        .add(
            Dependency::new("ledger", Switch::off().check())
                .optional()
                .group("orders")
                .required_for(orders.clone()),
        )
        .add(
            Dependency::new("audit", Switch::off().check())
                .group("audits")
                .optional_for(Probe::Readiness),
        )
        .build();
    // Startup follows readiness: neither gates the start.
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Degraded);
    assert!(health.is_started());
    assert_eq!(status(&health, &orders).await, Status::Down);
    assert_eq!(status(&health, &Probe::group("audits")).await, Status::Down);
    assert_eq!(status(&health, &Probe::Full).await, Status::Down);
}

#[tokio::test(start_paused = true)]
async fn one_required_for_startup_gates_the_start() {
    let warm = Switch::off();
    let health = Health::builder()
        .add(
            Dependency::new("cache", warm.check())
                .optional()
                .required_for(Probe::Startup),
        )
        .build();
    assert_eq!(status(&health, &Probe::Readiness).await, Status::Unknown);
    assert_eq!(status(&health, &Probe::Startup).await, Status::Down);
    warm.set(true);
    assert_eq!(status(&health, &Probe::Startup).await, Status::Up);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let a = || Dependency::new("a", Switch::on().check());
    let orders = || Probe::group("orders");
    let ms = Duration::from_millis;
    let table: [(Dependency, &str); 12] = [
        (a().timeout(ms(0)), "timeout must not be zero"),
        (a().slow_after(ms(0)), "slow_after must not be zero"),
        (
            a().slow_after(ms(300)).timeout(ms(300)),
            "slow_after (300 ms) must be shorter than timeout (300 ms)",
        ),
        (
            a().optional().required_until_started(),
            "optional and required_until_started contradict each other",
        ),
        (
            a().required_for(Probe::Full).optional_for(Probe::Full),
            "required_for and optional_for full contradict each other",
        ),
        (
            a().required_until_started().exclude_from_readiness(),
            "required_until_started and exclude_from_readiness contradict each other",
        ),
        (
            a().required_until_started().optional_for(Probe::Startup),
            "required_until_started and optional_for contradict each other",
        ),
        (
            a().required_until_started().optional_for(Probe::Readiness),
            "required_until_started and optional_for contradict each other",
        ),
        (
            a().required_for(orders()),
            "requirement for orders, which does not cover this dependency",
        ),
        (
            a().optional_for(Probe::Liveness),
            "requirement for liveness, which does not cover this dependency",
        ),
        (
            a().exclude_from_readiness().required_for(Probe::Readiness),
            "requirement for readiness, which does not cover this dependency",
        ),
        (
            a().exclude_from_readiness().optional_for(Probe::Startup),
            "requirement for startup, which does not cover this dependency",
        ),
    ];
    for (dependency, fault) in table {
        let line = format!("dependency \"a\": {fault}");
        let health = Health::builder().build();
        let error = health.add(dependency.clone()).expect_err(fault);
        assert_eq!(
            (error.kind(), error.to_string()),
            (AddErrorKind::InvalidSettings, line.clone())
        );
        assert_eq!(panic_of(Health::builder().add(dependency)), Some(line));
    }
    let builder = Health::builder();
    assert_eq!(
        panic_of(builder.answer_within(ms(0))).as_deref(),
        Some("answer_within must not be zero")
    );
    assert_eq!(
        panic_of(Health::builder().refresh_every(ms(0))).as_deref(),
        Some("refresh_every must not be zero")
    );
    // A group that is declared counts, wherever it is declared.
    let member = a().optional().required_for(orders());
    assert_eq!(
        panic_of(Health::builder().add(member).group("orders", ["a"])),
        None
    );
}

/// What the build panics with.
fn panic_of(builder: HealthBuilder) -> Option<String> {
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.build()));
    let panic = built.err()?;
    let text = panic.downcast::<String>().map(|text| *text);
    Some(text.unwrap_or_else(|panic| {
        let text = panic.downcast::<&str>().expect("a message");
        (*text).to_owned()
    }))
}

#[tokio::test(start_paused = true)]
async fn slow_runs_are_degraded_and_still_serve() {
    let check = || async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(tower_health::Outcome::up())
    };
    let slow = Dependency::new("search", check).slow_after(Duration::from_millis(100));
    let health = Health::builder().add(slow).build();
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!(report.status, Status::Degraded);
    let entry = &report.entries[0];
    assert_eq!(entry.reason, Some(Reason::Slow));
    assert_eq!(
        entry.message.as_deref(),
        Some("took 200 ms, more than 100 ms")
    );
}

#[tokio::test(start_paused = true)]
async fn a_prober_that_asks_each_second_starts_a_run_each_time() {
    let switch = Switch::on();
    let health = Health::builder()
        .check_optional("a", switch.check())
        .build();
    for number in 1..=100 {
        assert_eq!(health.report().await.status, Status::Up);
        assert_eq!(switch.runs(), number);
        advance(SECOND).await;
    }
    switch.set(false);
    assert_eq!(health.report().await.status, Status::Degraded);
}
