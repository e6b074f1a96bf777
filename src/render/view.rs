use std::{borrow::Cow, time::SystemTime};

use crate::{
    access::Detail,
    report::{Reason, Report, ReportEntry, Status},
};

/// A report restricted to what the caller may see: the input of a [`Render`](crate::render::Render).
///
/// Without details the accessors return nothing, so a renderer needs no `if` to keep a secret.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    status: Status,
    /// `None` without details.
    report: Option<&'a Report>,
    is_single: bool,
    request: RequestContext<'a>,
    /// `None` without details and without measurements.
    created_at: Option<SystemTime>,
}

/// The parts of a view that depend on the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    /// The probe path without the first slash. The caller knows it.
    pub(crate) name: &'a str,
    /// Whether the text format lists the dependencies of a passing probe.
    pub(crate) verbose: bool,
    /// Names to exclude that match nothing.
    pub(crate) unmatched: &'a [String],
    /// The groups of all dependencies.
    pub(crate) groups: &'a [Cow<'static, str>],
    /// The report of readiness, for the status page.
    #[cfg_attr(not(feature = "html"), allow(dead_code))]
    pub(crate) readiness: Option<&'a Report>,
}

impl Default for RequestContext<'_> {
    fn default() -> Self {
        Self {
            name: "health",
            verbose: false,
            unmatched: &[],
            groups: &[],
            readiness: None,
        }
    }
}

impl<'a> View<'a> {
    /// Restricts `report` to `detail`.
    pub fn new(report: &'a Report, detail: Detail) -> Self {
        let is_full = detail == Detail::Full;
        Self {
            status: report.status,
            report: is_full.then_some(report),
            is_single: false,
            request: RequestContext::default(),
            created_at: is_full.then(SystemTime::now),
        }
    }

    /// Creates the view of the only dependency in `report`.
    pub(crate) fn single(report: &'a Report, detail: Detail) -> Self {
        let entry = report.entries.first();
        Self {
            status: entry.map_or(report.status, |entry| entry.status),
            is_single: true,
            ..Self::new(report, detail)
        }
    }

    /// Adds the request. Without details only its name is kept.
    pub(crate) fn with_request(self, request: RequestContext<'a>) -> Self {
        let request = match self.report {
            Some(_) => request,
            None => RequestContext {
                name: request.name,
                ..RequestContext::default()
            },
        };
        Self { request, ..self }
    }

    /// Removes the time, so that two views of one report are equal.
    pub(crate) fn without_measurements(self) -> Self {
        Self {
            created_at: None,
            ..self
        }
    }

    /// Returns the overall status; in the response for one dependency, the status of that dependency.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns what the caller may see.
    pub fn detail(&self) -> Detail {
        match self.report {
            None => Detail::Status,
            Some(_) => Detail::Full,
        }
    }

    /// Returns the probe path without the first slash, such as `readyz`.
    ///
    /// Default: `health`.
    pub fn name(&self) -> &'a str {
        self.request.name
    }

    /// Returns whether the request has `?verbose`. False without details.
    pub fn is_verbose(&self) -> bool {
        self.request.verbose
    }

    /// Returns the reason of the app itself, such as `draining`. `None` without details.
    pub fn reason(&self) -> Option<Reason> {
        self.report.and_then(|report| report.reason)
    }

    /// Returns the app's message for that reason. `None` without details.
    pub fn message(&self) -> Option<&'a str> {
        self.report.and_then(|report| report.message.as_deref())
    }

    /// Returns the info fields in their order. Empty without details.
    pub fn info(&self) -> &'a [(Cow<'static, str>, Cow<'static, str>)] {
        self.report.map_or(&[], |report| &report.info)
    }

    /// Returns the dependencies in the order of registration. Empty without details.
    pub fn entries(&self) -> &'a [ReportEntry] {
        self.report.map_or(&[], |report| &report.entries)
    }

    /// Returns the dependency, in the response for one dependency. `None` without details.
    pub fn single_entry(&self) -> Option<&'a ReportEntry> {
        self.entries().first().filter(|_| self.is_single)
    }

    /// Returns the names of all groups, each once. Empty without details.
    pub fn groups(&self) -> &'a [Cow<'static, str>] {
        self.request.groups
    }

    /// Returns when the last completed run of `entry` started, by the wall clock.
    ///
    /// Runs are timed by a monotonic clock, so the time is [`created_at`](Self::created_at) minus the age of the
    /// result. `None` before the first run has ended, without details and without measurements.
    pub fn checked_at(&self, entry: &ReportEntry) -> Option<SystemTime> {
        self.created_at?.checked_sub(entry.age?)
    }

    /// Returns when the view was created, by the wall clock.
    ///
    /// `None` without details and without measurements.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.created_at
    }

    /// Returns the report of readiness. `None` without details.
    #[cfg(feature = "html")]
    pub(super) fn readiness(&self) -> Option<&'a Report> {
        self.request.readiness
    }

    /// Returns the reason of the app itself, and the message if there is one. `None` without details.
    pub(super) fn explanation(&self) -> Option<String> {
        Some(with_message(self.reason()?.as_str(), self.message()))
    }

    /// Returns the names to exclude that match nothing. Empty without details.
    pub(super) fn unmatched(&self) -> &'a [String] {
        self.request.unmatched
    }

    /// Returns the report. `None` without details.
    pub(super) fn report(&self) -> Option<&'a Report> {
        self.report
    }
}

/// Returns the reason of `entry`, or else its status, with the message if there is one.
pub(super) fn explanation(entry: &ReportEntry) -> String {
    let cause = entry.reason.map_or(entry.status.as_str(), Reason::as_str);
    with_message(cause, entry.message.as_deref())
}

fn with_message(cause: &str, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{cause}: {message}"),
        None => cause.to_owned(),
    }
}

/// Views with every kind of value, for the renderers' tests.
#[cfg(test)]
pub(super) mod sample {
    use std::time::{Duration, UNIX_EPOCH};

    use super::View;
    use crate::{
        access::Detail,
        report::{Observations, ObservedValue, PoolStats, Reason, Report, ReportEntry, Status},
    };

    /// An entry with nothing but `status`.
    pub(in crate::render) fn entry(name: &str, status: Status) -> ReportEntry {
        ReportEntry::new(name.into(), true, status)
    }

    /// An app whose database is up, whose pool is saturated and whose optional cache is down.
    pub(in crate::render) fn report() -> Report {
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

    /// The view with details, created at 2018-01-17T03:36:48Z.
    pub(in crate::render) fn full(report: &Report) -> View<'_> {
        View {
            created_at: Some(UNIX_EPOCH + Duration::from_secs(1_516_160_208)),
            ..View::new(report, Detail::Full)
        }
    }

    /// The view without details.
    pub(in crate::render) fn without_details(report: &Report) -> View<'_> {
        View::new(report, Detail::Status)
    }
}
