use metrics::{Gauge, counter, gauge, histogram, with_recorder};

use super::{
    CHECK_CONSECUTIVE_FAILURES, CHECK_DURATION_SECONDS, CHECK_RUNS_TOTAL, CHECK_STATUS,
    POOL_CONNECTIONS, descriptions::describe,
};
use crate::{
    dependency::Dependency,
    monitor::result::LastResult,
    report::{PoolStats, Status},
};

const TARGET: &str = "tower_health";

/// Records the last result of `dependency`, which is that of a completed run if `is_run`.
pub(crate) fn record(dependency: &Dependency, last: &LastResult, is_run: bool) {
    with_recorder(describe);
    // Absent before the first result: a new gauge is 0, which would mean down.
    if let Some(value) = last.status.number() {
        gauge_of(dependency, CHECK_STATUS).set(value);
    }
    gauge_of(dependency, CHECK_CONSECUTIVE_FAILURES).set(last.failures);
    let name = &dependency.name;
    // All three at once: Prometheus sees no increase in a counter that first appears as 1.
    for outcome in [Status::Up, Status::Degraded, Status::Down] {
        let runs = counter!(
            target: TARGET,
            CHECK_RUNS_TOTAL,
            "check" => name.clone(),
            "outcome" => outcome.as_str(),
        );
        if is_run && outcome == last.found {
            runs.increment(1);
        }
    }
    let duration = histogram!(target: TARGET, CHECK_DURATION_SECONDS, "check" => name.clone());
    if is_run {
        duration.record(last.duration);
        if let Some(pool) = last.observations.pool {
            set_pool(dependency, pool, f64::from);
        }
    }
}

/// Sets the gauges of a removed dependency to `NaN`.
///
/// A recorder keeps every series, and a status of 0 would be a permanent outage.
pub(crate) fn retire(dependency: &Dependency, last: &LastResult) {
    if last.status.number().is_some() {
        gauge_of(dependency, CHECK_STATUS).set(f64::NAN);
    }
    gauge_of(dependency, CHECK_CONSECUTIVE_FAILURES).set(f64::NAN);
    if let Some(pool) = last.observations.pool {
        set_pool(dependency, pool, |_| f64::NAN);
    }
}

fn gauge_of(dependency: &Dependency, metric: &'static str) -> Gauge {
    gauge!(target: TARGET, metric, "check" => dependency.name.clone())
}

// For pools only: for other checks 0 connections would be wrong.
fn set_pool(dependency: &Dependency, pool: PoolStats, value: impl Fn(u32) -> f64) {
    for (state, count) in [
        ("max", pool.max),
        ("open", pool.open),
        ("idle", pool.idle),
        ("in_use", pool.in_use),
    ] {
        let name = dependency.name.clone();
        gauge!(target: TARGET, POOL_CONNECTIONS, "check" => name, "state" => state)
            .set(value(count));
    }
}
