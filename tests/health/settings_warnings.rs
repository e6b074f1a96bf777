//! Numbers that cannot work together are told at the build.

use std::time::Duration;

use tower_health::{
    CheckResult, Dependency, Health, HealthBuilder, Outcome,
    checks::Heartbeat,
    health::{ConfigWarning, ConfigWarningKind},
};

const SECOND: Duration = Duration::from_secs(1);

async fn up() -> CheckResult {
    Ok(Outcome::up())
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
fn each_kind_is_reported_from_its_bound_on() {
    use ConfigWarningKind::*;

    let ms = Duration::from_millis;
    let table = [
        (Health::builder(), vec![]),
        (with(a()), vec![]),
        // What is answered a moment after the prober has gone.
        (Health::builder().answer_within(ms(999)), vec![]),
        (Health::builder().answer_within(SECOND), vec![AnswerTooLate]),
        // A run that outlasts its callers; with a refresh nobody waits for it.
        (with(a().timeout(ms(900))), vec![]),
        (with(a().timeout(ms(901))), vec![TimeoutAfterAnswer]),
        (with(a().timeout(ms(901))).answer_within(ms(950)), vec![]),
        (with(a().timeout(2 * SECOND)).refresh_every(SECOND), vec![]),
        // No cache, no bound; but what lies in the process may be asked each time.
        (with(a().cache_for(ms(1))), vec![]),
        (with(a().cache_for(Duration::ZERO)), vec![Uncached]),
        (with(a().cache_failures_for(Duration::ZERO)), vec![Uncached]),
        (
            with(a().cache_for(Duration::ZERO)).refresh_every(SECOND),
            vec![],
        ),
        (
            with(Dependency::in_process("a", Heartbeat::new(SECOND)).cache_for(Duration::ZERO)),
            vec![],
        ),
        // One failure that three probes see.
        (with(a().cache_failures_for(14 * SECOND)), vec![]),
        (
            with(a().cache_failures_for(21 * SECOND)),
            vec![OneFailureCountsAsThree],
        ),
        (
            with(a().cache_failures_for(21 * SECOND).failure_threshold(2)),
            vec![],
        ),
        (
            with(a()).refresh_every(21 * SECOND),
            vec![OneFailureCountsAsThree],
        ),
        // An outage that stays hidden, by the period or by the threshold.
        (
            with(a().cache_for(29 * SECOND).cache_failures_for(SECOND)),
            vec![],
        ),
        (
            with(a().cache_for(30 * SECOND).cache_failures_for(SECOND)),
            vec![OutageShowsLate],
        ),
        (with(a().failure_threshold(32)), vec![]),
        (with(a().failure_threshold(33)), vec![OutageShowsLate]),
        (with(a().failure_threshold(u32::MAX)), vec![OutageShowsLate]),
        // A return that does.
        (with(a().success_threshold(32)), vec![]),
        (with(a().success_threshold(33)), vec![ReturnShowsLate]),
        // No prober acts on these.
        (
            with(a().exclude_from_readiness().cache_for(60 * SECOND)),
            vec![],
        ),
    ];
    for (number, (builder, expected)) in table.into_iter().enumerate() {
        let before = builder.warnings();
        assert_eq!(kinds(&before), expected, "row {number}: {before:?}");
        // No runtime here, and with a refresh the first caller would start it.
        let health = builder.build();
        assert_eq!(health.warnings(), before, "row {number}");
    }
}

#[test]
fn a_warning_is_one_line_that_names_the_dependency_and_the_numbers() {
    let health = with(a().timeout(2 * SECOND)).answer_within(SECOND).build();
    let warnings = health.warnings();
    assert_eq!(warnings[0].dependency(), None);
    assert_eq!(
        warnings[0].to_string(),
        "answer_within (1000 ms) is not below the timeout of a kubelet (1000 ms)"
    );
    assert_eq!(warnings[1].dependency(), Some("a"));
    assert_eq!(
        warnings[1].to_string(),
        "a: timeout (2000 ms) exceeds answer_within (1000 ms): \
         callers get \"pending\" instead of the failure"
    );
}

#[test]
fn one_that_is_added_later_is_warned_of_until_it_goes() {
    let health = with(a()).build();
    let b = Dependency::new("b", up).cache_for(Duration::ZERO);
    health.add(b).expect("new");
    let warnings = health.warnings();
    assert_eq!(kinds(&warnings), [ConfigWarningKind::Uncached]);
    assert_eq!(warnings[0].dependency(), Some("b"));
    health.remove("b");
    assert_eq!(health.warnings(), []);
}
