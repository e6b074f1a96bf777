//! The series: their handles, their keys and their descriptions.

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder};

use super::{
    CHECK_CONSECUTIVE_FAILURES, CHECK_DURATION_SECONDS, CHECK_RUNS_TOTAL, CHECK_STATUS,
    POOL_CONNECTIONS, PROBE_REQUESTS_TOTAL,
};

pub(super) static METADATA: Metadata<'static> =
    Metadata::new("tower_health", Level::INFO, Some(module_path!()));

/// Makes handles with the current recorder. Returns whether they may be kept.
///
/// Before a recorder is installed, a no-op recorder of size zero replaces it. Handles of it must not be kept: they
/// would never record. A real recorder of size zero is called each time.
pub(super) fn register<T>(make: impl FnOnce(&dyn Recorder) -> T) -> (T, bool) {
    with_recorder(|recorder| {
        let may_keep = size_of_val(recorder) > 0;
        if may_keep {
            describe(recorder);
        }
        (make(recorder), may_keep)
    })
}

/// The series called `name` with these labels.
pub(super) fn key<const N: usize>(
    name: &'static str,
    labels: [(&'static str, SharedString); N],
) -> Key {
    let labels: Vec<_> = labels
        .into_iter()
        .map(|(name, value)| Label::new(name, value))
        .collect();
    Key::from_parts(name, labels)
}

fn describe(recorder: &dyn Recorder) {
    recorder.describe_gauge(
        CHECK_STATUS.into(),
        None,
        "Status of a dependency: 1 up, 0.5 degraded, 0 down".into(),
    );
    recorder.describe_gauge(
        CHECK_CONSECUTIVE_FAILURES.into(),
        Some(Unit::Count),
        "Completed runs of a check that failed without a success between".into(),
    );
    recorder.describe_histogram(
        CHECK_DURATION_SECONDS.into(),
        Some(Unit::Seconds),
        "Duration of the runs of a check".into(),
    );
    recorder.describe_counter(
        CHECK_RUNS_TOTAL.into(),
        Some(Unit::Count),
        "Completed runs of a check by outcome".into(),
    );
    recorder.describe_gauge(
        POOL_CONNECTIONS.into(),
        Some(Unit::Count),
        "Connections of a checked pool at the end of a run".into(),
    );
    recorder.describe_counter(
        PROBE_REQUESTS_TOTAL.into(),
        Some(Unit::Count),
        "Health probes answered".into(),
    );
}
