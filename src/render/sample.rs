//! A report with every kind of value, for the renderers' tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::View;
use crate::{
    access::Detail,
    report::{Observations, ObservedValue, PoolStats, Reason, Report, ReportEntry, Status},
};

/// 2018-01-17T03:36:48Z.
pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_516_160_208)
}

/// An entry with nothing but `status`.
pub(super) fn entry(name: &str, status: Status) -> ReportEntry {
    ReportEntry::new(name.into(), true, status)
}

/// An app whose database is up, whose pool is saturated and whose cache, optional, is down.
pub(super) fn report() -> Report {
    let database = ReportEntry {
        kind: Some("postgres".into()),
        duration: Some(Duration::from_micros(310)),
        age: Some(Duration::from_millis(420)),
        observations: Observations {
            pool: Some(PoolStats::new(10, 10, 8)),
            values: vec![("lag_ms".into(), ObservedValue::from(3_u64))],
        },
        ..entry("database", Status::Up)
    };
    let pool = ReportEntry {
        kind: Some("pool".into()),
        reason: Some(Reason::Saturated),
        duration: Some(Duration::from_millis(2)),
        age: Some(Duration::from_millis(10)),
        ..entry("pool", Status::Degraded)
    };
    let cache = ReportEntry {
        kind: Some("redis".into()),
        required: false,
        reason: Some(Reason::Timeout),
        message: Some("no answer within 800 ms".into()),
        failing_for: Some(Duration::from_secs(12)),
        consecutive_failures: 12,
        duration: Some(Duration::from_micros(800_200)),
        age: Some(Duration::from_millis(310)),
        ..entry("cache", Status::Down)
    };
    let info = [("version".into(), "2.0.0".into())];
    Report::new(vec![database, pool, cache], info.into())
}

/// The sample with details.
pub(super) fn full(report: &Report) -> View<'_> {
    View::new(report, Detail::Full).at(now())
}

/// The sample without details.
pub(super) fn without_details(report: &Report) -> View<'_> {
    View::new(report, Detail::Status).at(now())
}
