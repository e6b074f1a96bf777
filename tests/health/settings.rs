//! Settings: extreme values, contradictions that are refused, and warnings about those that do not fit together.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tower_health::{
    Access, Dependency, Health, HealthBuilder, HealthLayer, Probe, Reason, Status,
    checks::Heartbeat,
    health::{
        AddErrorKind, ConfigWarning,
        ConfigWarningKind::{self, *},
    },
};

use super::fixtures::{MS, SECOND, refused, up};
use crate::{
    helpers::layer_client::LayerClient,
    support::{MAXIMUM_WAIT, wait_until},
};

fn a() -> Dependency {
    Dependency::new("a", up)
}

fn with(dependency: Dependency) -> HealthBuilder {
    Health::builder().add(dependency)
}

#[tokio::test]
async fn extreme_durations_report_every_run() {
    const NEVER: Duration = Duration::MAX;
    for (cache, builder) in [
        (NEVER, Health::builder().refresh_every(NEVER)),
        (Duration::ZERO, Health::builder()),
    ] {
        let change = |it: Dependency| it.timeout(NEVER).cache_for(cache).cache_failures_for(cache);
        let health = builder
            .add(change(a()))
            .add(change(Dependency::new("down", refused)).optional())
            .answer_within(NEVER)
            .build();
        health.wait_until_ready(NEVER).await.expect("ready");
        wait_until("each has a result", MAXIMUM_WAIT, async || {
            health.report().await.entries[1].status == Status::Down
        })
        .await;
        for _ in 0..3 {
            let entries = health.report().await.entries;
            let found: Vec<_> = entries.iter().map(|it| (it.status, it.reason)).collect();
            let expected = [(Status::Up, None), (Status::Down, Some(Reason::Refused))];
            assert_eq!(found, expected, "{cache:?}");
        }
    }
}

#[test]
#[rustfmt::skip] // One row, one line.
fn settings_that_contradict_each_other_are_refused() {
    let aside = || a().exclude_from_readiness();
    let until_started = a().required_until_started();
    let orders = || a().required_for(Probe::group("orders"));
    for (dependency, fault) in [
        (a().timeout(Duration::ZERO), "timeout must not be zero"),
        (a().slow_after(Duration::ZERO), "slow_after must not be zero"),
        (a().slow_after(300 * MS).timeout(300 * MS), "slow_after (300 ms) must be shorter than timeout (300 ms)"),
        (until_started.clone().optional(), "optional and required_until_started contradict each other"),
        (until_started.optional_for(Probe::Readiness), "required_until_started and optional_for contradict each other"),
        (a().required_for(Probe::Full).optional_for(Probe::Full), "required_for and optional_for full contradict each other"),
        (aside().required_until_started(), "required_until_started and exclude_from_readiness contradict each other"),
        (orders(), "requirement for orders, which does not cover this dependency"),
        (aside().optional_for(Probe::Startup), "requirement for startup, which does not cover this dependency"),
    ] {
        let error = Health::builder().build().add(dependency.clone()).expect_err(fault);
        assert_eq!(error.kind(), AddErrorKind::InvalidSettings);
        let line = error.to_string();
        assert_eq!(line, format!("dependency \"a\": {fault}"));
        assert_eq!(panic_of(with(dependency)), Some(line));
    }
    for (builder, panic) in [
        (with(a()).answer_within(Duration::ZERO), Some("answer_within must not be zero")),
        (with(a()).refresh_every(Duration::ZERO), Some("refresh_every must not be zero")),
        (with(a()).group("orders", ["b"]), Some(r#"group "orders": no dependency "b" exists"#)),
        // A member counts wherever it is declared.
        (with(orders()).group("orders", ["a"]), None),
    ] {
        let found = panic_of(builder);
        assert_eq!(found.is_some(), panic.is_some(), "{found:?}");
        assert!(found.unwrap_or_default().starts_with(panic.unwrap_or_default()));
    }
}

/// The message that the build panics with.
fn panic_of(builder: HealthBuilder) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| builder.build())).err()?;
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
}

fn kinds(warnings: &[ConfigWarning]) -> Vec<ConfigWarningKind> {
    warnings.iter().map(ConfigWarning::kind).collect()
}

#[test]
#[rustfmt::skip] // One row, one line.
fn each_kind_is_reported_from_its_bound_on() {
    let heartbeat = Dependency::in_process("a", Heartbeat::new(SECOND));
    let failures = |seconds: u32| a().cache_failures_for(seconds * SECOND);
    let cached = |seconds: u32| with(a().cache_for(seconds * SECOND).cache_failures_for(SECOND));
    let table = [
        (with(a()), None),
        // After the prober's own timeout.
        (Health::builder().answer_within(999 * MS), None),
        (Health::builder().answer_within(SECOND), Some(AnswerTooLate)),
        // A run that outlasts its callers; with a refresh no caller waits for it.
        (with(a().timeout(900 * MS)), None),
        (with(a().timeout(901 * MS)), Some(TimeoutAfterAnswer)),
        (with(a().timeout(901 * MS)).answer_within(950 * MS), None),
        (with(a().timeout(2 * SECOND)).refresh_every(SECOND), None),
        // Without a cache the cost has no bound; checks inside the process cost little.
        (with(a().cache_for(Duration::ZERO)), Some(Uncached)),
        (with(failures(0)), Some(Uncached)),
        (with(a().cache_for(Duration::ZERO)).refresh_every(SECOND), None),
        (with(heartbeat.cache_for(Duration::ZERO)), None),
        // One failure that three probes see.
        (with(failures(14)), None),
        (with(failures(21)), Some(OneFailureCountsAsThree)),
        (with(failures(21).failure_threshold(2)), None),
        (with(a()).refresh_every(21 * SECOND), Some(OneFailureCountsAsThree)),
        // An outage that stays hidden, by the period or by the threshold.
        (cached(29), None),
        (cached(30), Some(OutageShowsLate)),
        (with(a().failure_threshold(32)), None),
        (with(a().failure_threshold(33)), Some(OutageShowsLate)),
        (with(a().failure_threshold(u32::MAX)), Some(OutageShowsLate)),
        // A recovery that does.
        (with(a().success_threshold(32)), None),
        (with(a().success_threshold(33)), Some(ReturnShowsLate)),
        // No prober acts on these.
        (with(a().exclude_from_readiness().cache_for(60 * SECOND)), None),
    ];
    for (row, (builder, expected)) in table.into_iter().enumerate() {
        let before = builder.warnings();
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(kinds(&before), expected, "row {row}: {before:?}");
        assert_eq!(builder.build().warnings(), before, "row {row}");
    }
}

#[cfg(feature = "tracing")]
#[test]
fn each_warning_is_logged_once_with_its_numbers() {
    let (mut log, _guard) = super::log::Log::start();
    let health = with(a().timeout(2 * SECOND)).answer_within(SECOND).build();
    let late = "answer_within (1000 ms) is not below the timeout of a kubelet (1000 ms)";
    let timeout = "a: timeout (2000 ms) exceeds answer_within (1000 ms): \
                   callers get \"pending\" instead of the failure";
    log.assert_lines(&[("WARN", late), ("WARN", timeout)]);
    let b = Dependency::new("b", up).cache_for(Duration::ZERO);
    health.add(b).expect("a new name");
    log.assert_lines(&[("WARN", "b: ")]);
    let warnings = health.warnings();
    let expected = [AnswerTooLate, TimeoutAfterAnswer, Uncached];
    assert_eq!(kinds(&warnings), expected);
    let texts = [warnings[0].to_string(), warnings[1].to_string()];
    assert_eq!(texts, [late, timeout]);
    let names: Vec<_> = warnings.iter().map(ConfigWarning::dependency).collect();
    assert_eq!(names, [None, Some("a"), Some("b")]);
    assert!(health.remove("b"));
    assert_eq!(health.warnings(), warnings[..2]);
    log.assert_lines(&[]);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_missing_peer_address_is_logged_once() {
    let (mut log, _guard) = super::log::Log::start();
    let layer = HealthLayer::new(Health::builder().build()).details(Access::loopback());
    let client = LayerClient(layer);
    for _ in 0..2 {
        assert_eq!(client.code("/livez").await, 200);
    }
    log.assert_lines(&[("WARN", "a request has no peer address")]);
}
