//! Settings with extreme values, and warnings about settings that do not fit together.

use std::time::Duration;

use tower_health::{
    Dependency, Health, HealthBuilder, Reason, Status,
    checks::Heartbeat,
    health::{
        ConfigWarning,
        ConfigWarningKind::{self, *},
    },
};

use super::fixtures::{MS, SECOND, refused, up};

type Change = fn(Dependency) -> Dependency;
type Build = fn(HealthBuilder) -> HealthBuilder;

#[tokio::test]
#[rustfmt::skip] // One row, one line.
async fn extreme_durations_report_every_run() {
    const NEVER: Duration = Duration::MAX;
    let all: Change = |it| it.timeout(NEVER).cache_for(NEVER).cache_failures_for(NEVER);
    let table: [(&str, Change, Build); 6] = [
        ("timeout", |dependency| dependency.timeout(NEVER), |builder| builder),
        ("cache", |dependency| dependency.cache_for(NEVER), |builder| builder),
        ("failures", |dependency| dependency.cache_failures_for(NEVER), |builder| builder),
        ("answer", |dependency| dependency, |builder| builder.answer_within(NEVER)),
        ("all", all, |builder| builder.answer_within(NEVER)),
        ("no cache", |dependency| dependency.cache_for(Duration::ZERO), |builder| builder),
    ];
    for (case, change, build) in table {
        let builder = Health::builder()
            .add(change(Dependency::new("up", up)))
            .add(change(Dependency::new("down", refused)));
        let health = build(builder).build();
        for _ in 0..3 {
            let entries = health.report().await.entries;
            let found: Vec<_> = entries.iter().map(|it| (it.status, it.reason)).collect();
            let expected = [(Status::Up, None), (Status::Down, Some(Reason::Refused))];
            assert_eq!(found, expected, "{case}");
        }
    }
    let health = Health::builder().check("a", up).build();
    health.wait_until_ready(NEVER).await.expect("ready");
}

fn a() -> Dependency {
    Dependency::new("a", up)
}

fn with(dependency: Dependency) -> HealthBuilder {
    Health::builder().add(dependency)
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
        (with(a().cache_for(MS)), None),
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

#[test]
fn a_warning_names_the_dependency_and_the_numbers() {
    let health = with(a().timeout(2 * SECOND)).answer_within(SECOND).build();
    let warnings = health.warnings();
    let found: Vec<_> = warnings
        .iter()
        .map(|warning| (warning.dependency(), warning.to_string()))
        .collect();
    let late = "answer_within (1000 ms) is not below the timeout of a kubelet (1000 ms)";
    let timeout = "a: timeout (2000 ms) exceeds answer_within (1000 ms): \
                   callers get \"pending\" instead of the failure";
    let expected = [(None, late.to_owned()), (Some("a"), timeout.to_owned())];
    assert_eq!(found, expected);
}

#[test]
fn an_added_dependency_has_warnings_until_it_is_removed() {
    let health = with(a()).build();
    let b = Dependency::new("b", up).cache_for(Duration::ZERO);
    health.add(b).expect("a new name");
    let warnings = health.warnings();
    assert_eq!(kinds(&warnings), [Uncached]);
    assert_eq!(warnings[0].dependency(), Some("b"));
    assert!(health.remove("b"));
    assert_eq!(health.warnings(), []);
}
