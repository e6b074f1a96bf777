use metrics::{Recorder, Unit};

use super::{
    CHECK_CONSECUTIVE_FAILURES, CHECK_DURATION_SECONDS, CHECK_RUNS_TOTAL, CHECK_STATUS,
    POOL_CONNECTIONS, PROBE_REQUESTS_TOTAL,
};

pub(super) fn describe(recorder: &dyn Recorder) {
    let gauge = |name: &'static str, text: &'static str| {
        recorder.describe_gauge(name.into(), Some(Unit::Count), text.into());
    };
    let counter = |name: &'static str, text: &'static str| {
        recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
    };
    let status = "Status of a dependency: 1 up, 0.5 degraded, 0 down";
    recorder.describe_gauge(CHECK_STATUS.into(), None, status.into());
    let failures = "Completed runs of a check that failed without a success between";
    gauge(CHECK_CONSECUTIVE_FAILURES, failures);
    let (seconds, duration) = (Some(Unit::Seconds), "Duration of the runs of a check");
    recorder.describe_histogram(CHECK_DURATION_SECONDS.into(), seconds, duration.into());
    counter(CHECK_RUNS_TOTAL, "Completed runs of a check by outcome");
    let connections = "Connections of a checked pool at the end of a run";
    gauge(POOL_CONNECTIONS, connections);
    counter(PROBE_REQUESTS_TOTAL, "Health probes answered");
}
