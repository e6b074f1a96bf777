use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Recorder};

use super::{
    CHECK_CONSECUTIVE_FAILURES, CHECK_DURATION_SECONDS, CHECK_RUNS_TOTAL, CHECK_STATUS,
    POOL_CONNECTIONS,
    series::{METADATA, key, register},
};
use crate::{
    dependency::Dependency,
    monitor::result::LastResult,
    report::{PoolStats, Status},
};

/// The series of one dependency.
#[derive(Debug)]
pub(crate) struct CheckMetrics(OnceLock<CheckSeries>);

impl CheckMetrics {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Records the completed run of `result`.
    pub(crate) fn record(&self, dependency: &Dependency, result: &LastResult) {
        self.with(dependency, |series| series.record(result));
    }

    /// Records a status that changed without a completed run.
    pub(crate) fn amend(&self, dependency: &Dependency, last: &LastResult) {
        self.with(dependency, |series| series.amend(last));
    }

    /// Sets the gauges of a removed dependency to `NaN`.
    ///
    /// A recorder keeps every series, and a status of 0 would be a permanent outage.
    pub(crate) fn retire(&self, dependency: &Dependency, last: &LastResult) {
        self.with(dependency, |series| series.retire(last));
    }

    fn with(&self, dependency: &Dependency, act: impl FnOnce(&CheckSeries)) {
        if let Some(series) = self.0.get() {
            return act(series);
        }
        let (series, may_keep) = register(|recorder| CheckSeries::new(recorder, &dependency.name));
        act(&series);
        if may_keep {
            // Another thread may have set it at the same time: to the same series.
            let _ = self.0.set(series);
        }
    }
}

#[derive(Debug)]
struct CheckSeries {
    name: Arc<str>,
    /// Created with the first result: a new gauge is 0, which would mean down.
    status: OnceLock<Gauge>,
    failures: Gauge,
    duration: Histogram,
    up: Counter,
    degraded: Counter,
    down: Counter,
    /// Created for pools only: for other checks 0 connections would be wrong.
    pool: OnceLock<PoolSeries>,
}

impl CheckSeries {
    fn new(recorder: &dyn Recorder, name: &Arc<str>) -> Self {
        let check = || ("check", name.clone().into());
        let gauge = |metric| recorder.register_gauge(&key(metric, [check()]), &METADATA);
        // All three at once: Prometheus sees no increase in a counter that first appears as 1.
        let runs = |outcome: Status| {
            let key = key(
                CHECK_RUNS_TOTAL,
                [check(), ("outcome", outcome.as_str().into())],
            );
            recorder.register_counter(&key, &METADATA)
        };
        Self {
            status: OnceLock::new(),
            failures: gauge(CHECK_CONSECUTIVE_FAILURES),
            duration: recorder
                .register_histogram(&key(CHECK_DURATION_SECONDS, [check()]), &METADATA),
            up: runs(Status::Up),
            degraded: runs(Status::Degraded),
            down: runs(Status::Down),
            pool: OnceLock::new(),
            name: name.clone(),
        }
    }

    fn record(&self, result: &LastResult) {
        self.amend(result);
        self.duration.record(result.duration);
        match result.found {
            Status::Up => self.up.increment(1),
            Status::Degraded => self.degraded.increment(1),
            Status::Down | Status::Unknown => self.down.increment(1),
        }
        if let Some(stats) = &result.observations.pool {
            self.pool().set(stats);
        }
    }

    fn amend(&self, last: &LastResult) {
        if let Some(value) = status_value(last.status) {
            self.status().set(value);
        }
        self.failures.set(last.failures);
    }

    fn retire(&self, last: &LastResult) {
        if status_value(last.status).is_some() {
            self.status().set(f64::NAN);
        }
        self.failures.set(f64::NAN);
        if last.observations.pool.is_some() {
            self.pool().retire();
        }
    }

    fn pool(&self) -> &PoolSeries {
        self.pool
            .get_or_init(|| register(|recorder| PoolSeries::new(recorder, &self.name)).0)
    }

    fn status(&self) -> &Gauge {
        self.status.get_or_init(|| {
            let key = key(CHECK_STATUS, [("check", self.name.clone().into())]);
            register(|recorder| recorder.register_gauge(&key, &METADATA)).0
        })
    }
}

/// `None` while fewer runs have ended than a threshold requires.
fn status_value(status: Status) -> Option<f64> {
    match status {
        Status::Up => Some(1.0),
        Status::Degraded => Some(0.5),
        Status::Down => Some(0.0),
        Status::Unknown => None,
    }
}

#[derive(Debug)]
struct PoolSeries {
    max: Gauge,
    open: Gauge,
    idle: Gauge,
    in_use: Gauge,
}

impl PoolSeries {
    fn new(recorder: &dyn Recorder, name: &Arc<str>) -> Self {
        let gauge = |state: &'static str| {
            let labels = [("check", name.clone().into()), ("state", state.into())];
            recorder.register_gauge(&key(POOL_CONNECTIONS, labels), &METADATA)
        };
        Self {
            max: gauge("max"),
            open: gauge("open"),
            idle: gauge("idle"),
            in_use: gauge("in_use"),
        }
    }

    fn retire(&self) {
        for gauge in [&self.max, &self.open, &self.idle, &self.in_use] {
            gauge.set(f64::NAN);
        }
    }

    fn set(&self, stats: &PoolStats) {
        self.max.set(stats.max);
        self.open.set(stats.open);
        self.idle.set(stats.idle);
        self.in_use.set(stats.in_use);
    }
}
