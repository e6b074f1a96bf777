use metrics::{Recorder, Unit};

use super::{
    CHECK_CONSECUTIVE_FAILURES, CHECK_DURATION_SECONDS, CHECK_RUNS_TOTAL, CHECK_STATUS,
    POOL_CONNECTIONS, PROBE_REQUESTS_TOTAL,
};

pub(super) fn describe(recorder: &dyn Recorder) {
    let gauge = |name: &'static str, unit, text: &'static str| {
        recorder.describe_gauge(name.into(), unit, text.into());
    };
    let counter = |name: &'static str, text: &'static str| {
        recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
    };
    gauge(
        CHECK_STATUS,
        None,
        "Status of a dependency: 1 up, 0.5 degraded, 0 down",
    );
    gauge(
        CHECK_CONSECUTIVE_FAILURES,
        Some(Unit::Count),
        "Completed runs of a check that failed without a success between",
    );
    recorder.describe_histogram(
        CHECK_DURATION_SECONDS.into(),
        Some(Unit::Seconds),
        "Duration of the runs of a check".into(),
    );
    counter(CHECK_RUNS_TOTAL, "Completed runs of a check by outcome");
    gauge(
        POOL_CONNECTIONS,
        Some(Unit::Count),
        "Connections of a checked pool at the end of a run",
    );
    counter(PROBE_REQUESTS_TOTAL, "Health probes answered");
}
