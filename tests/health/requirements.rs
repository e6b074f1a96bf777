//! What a dependency is required for: until the start, for one probe, for a group.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tower_health::{
    Dependency, Health, HealthBuilder, Probe, Reason, Status, health::AddErrorKind,
};

use super::fixtures::{MS, next_status, slow, status, up};
use crate::helpers::switch::Switch;

#[tokio::test(start_paused = true)]
async fn required_until_started_gates_the_start_only() {
    let ledger = Switch::off();
    let health = Health::builder()
        .add(Dependency::new("ledger", ledger.check()).required_until_started())
        .build();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Down);
    let error = health.ensure_ready().await.expect_err("it gates the start");
    assert_eq!(&*error.failing()[0].name, "ledger");
    assert!(!health.is_started());
    ledger.set(true);
    assert_eq!(next_status(&health, Probe::Readiness).await, Status::Up);
    assert!(health.is_started());
    ledger.set(false);
    for probe in [Probe::Readiness, Probe::Full] {
        let found = next_status(&health, probe.clone()).await;
        assert_eq!(found, Status::Degraded, "{probe}");
    }
    let entry = health.snapshot().entries.remove(0);
    assert_eq!((entry.status, entry.required), (Status::Down, false));
    health.ensure_ready().await.expect("it is optional by now");
}

#[tokio::test(start_paused = true)]
async fn after_the_start_it_is_required_until_first_up() {
    let starts: [fn(&Health, Dependency); 2] = [
        |health, ledger| {
            health.add(ledger).expect("a new name");
            health.set_started();
        },
        |health, ledger| {
            health.set_started();
            health.add(ledger).expect("a new name");
        },
    ];
    for start in starts {
        let ledger = Switch::off();
        let health = Health::builder().build();
        let dependency = Dependency::new("ledger", ledger.check());
        start(&health, dependency.required_until_started());
        for (is_up, expected) in [
            (false, Status::Down),
            (true, Status::Up),
            (false, Status::Degraded),
        ] {
            ledger.set(is_up);
            assert_eq!(next_status(&health, Probe::Readiness).await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_requirement_may_differ_per_probe_and_group() {
    let orders = Probe::group("orders");
    let ledger = Dependency::new("ledger", Switch::off().check()).optional();
    let audit = Dependency::new("audit", Switch::off().check()).group("audits");
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

#[tokio::test(start_paused = true)]
async fn a_dependency_required_for_startup_gates_the_start() {
    let cache = Switch::off();
    let dependency = Dependency::new("cache", cache.check()).optional();
    let health = Health::builder()
        .add(dependency.required_for(Probe::Startup))
        .build();
    assert_eq!(status(&health, Probe::Readiness).await, Status::Unknown);
    assert_eq!(status(&health, Probe::Startup).await, Status::Down);
    cache.set(true);
    assert_eq!(next_status(&health, Probe::Startup).await, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn a_run_slower_than_slow_after_is_degraded() {
    let search = Dependency::new("search", slow(200 * MS)).slow_after(100 * MS);
    let health = Health::builder().add(search).build();
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!(report.status, Status::Degraded);
    let entry = &report.entries[0];
    assert_eq!(entry.reason, Some(Reason::Slow));
    let message = entry.message.as_deref();
    assert_eq!(message, Some("took 200 ms, more than 100 ms"));
}

#[test]
#[rustfmt::skip] // One row, one line.
fn settings_that_contradict_each_other_are_refused() {
    let a = || Dependency::new("a", up);
    let orders = || Probe::group("orders");
    let until_started = || a().required_until_started();
    let contradict = |one: &str, other: &str| format!("{one} and {other} contradict each other");
    let by_probe = contradict("required_until_started", "optional_for");
    let slow = "slow_after (300 ms) must be shorter than timeout (300 ms)".to_owned();
    let other = |probe: &str| format!("requirement for {probe}, which does not cover this dependency");
    let aside = || a().exclude_from_readiness();
    let table = [
        (a().timeout(Duration::ZERO), "timeout must not be zero".to_owned()),
        (a().slow_after(Duration::ZERO), "slow_after must not be zero".to_owned()),
        (a().slow_after(300 * MS).timeout(300 * MS), slow),
        (a().optional().required_until_started(), contradict("optional", "required_until_started")),
        (a().required_for(Probe::Full).optional_for(Probe::Full), contradict("required_for", "optional_for full")),
        (aside().required_until_started(), contradict("required_until_started", "exclude_from_readiness")),
        (until_started().optional_for(Probe::Startup), by_probe.clone()),
        (until_started().optional_for(Probe::Readiness), by_probe),
        (a().required_for(orders()), other("orders")),
        (a().optional_for(Probe::Liveness), other("liveness")),
        (aside().required_for(Probe::Readiness), other("readiness")),
        (aside().optional_for(Probe::Startup), other("startup")),
    ];
    for (dependency, fault) in table {
        let health = Health::builder().build();
        let error = health.add(dependency.clone()).expect_err(&fault);
        assert_eq!(error.kind(), AddErrorKind::InvalidSettings);
        let line = error.to_string();
        let start = format!("dependency \"a\": {fault}");
        assert!(line.starts_with(&start), "{line}");
        let panic = panic_of(Health::builder().add(dependency));
        assert_eq!(panic, Some(line));
    }
    // A member counts wherever it is declared.
    let member = Health::builder().add(a().required_for(orders()));
    for (builder, panic) in [
        (Health::builder().answer_within(Duration::ZERO), Some("answer_within must not be zero")),
        (Health::builder().refresh_every(Duration::ZERO), Some("refresh_every must not be zero")),
        (member.group("orders", ["a"]), None),
    ] {
        assert_eq!(panic_of(builder).as_deref(), panic);
    }
}

/// The message that the build panics with.
fn panic_of(builder: HealthBuilder) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| builder.build())).err()?;
    let text = panic.downcast::<String>().map(|text| *text);
    Some(text.unwrap_or_else(|panic| {
        let text = panic.downcast::<&str>().expect("a message");
        (*text).to_owned()
    }))
}
