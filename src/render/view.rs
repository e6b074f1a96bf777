use std::{borrow::Cow, time::SystemTime};

#[cfg(feature = "html")]
use crate::report::Rotation;
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
    /// The report, with details only.
    full: Option<&'a Report>,
    single: bool,
    question: Question<'a>,
    /// `None` without details and without measurements.
    at: Option<SystemTime>,
}

/// What the request asks for, beside the probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The probe's path without the first slash; the caller knows it.
    pub(crate) name: &'a str,
    /// Whether a passing probe has a line for each dependency, too.
    pub(crate) verbose: bool,
    /// Names to exclude that match nothing.
    pub(crate) unmatched: &'a [String],
    /// The groups of all dependencies.
    pub(crate) groups: &'a [Cow<'static, str>],
}

impl Default for Question<'_> {
    fn default() -> Self {
        Self {
            name: "health",
            verbose: false,
            unmatched: &[],
            groups: &[],
        }
    }
}

impl<'a> View<'a> {
    /// Restricts `report` to `detail`.
    pub fn new(report: &'a Report, detail: Detail) -> Self {
        Self {
            status: report.status,
            full: match detail {
                Detail::Status => None,
                Detail::Full => Some(report),
            },
            single: false,
            question: Question::default(),
            at: match detail {
                Detail::Status => None,
                Detail::Full => Some(SystemTime::now()),
            },
        }
    }

    /// The view of the only dependency in `report`.
    pub(crate) fn single(report: &'a Report, detail: Detail) -> Self {
        Self {
            status: report
                .entries
                .first()
                .map_or(report.status, |entry| entry.status),
            single: true,
            ..Self::new(report, detail)
        }
    }

    /// The same as the answer to `question`; without details only its name is kept.
    pub(crate) fn of(self, question: Question<'a>) -> Self {
        let question = match self.full {
            Some(_) => question,
            None => Question {
                name: question.name,
                ..Question::default()
            },
        };
        Self { question, ..self }
    }

    /// The same without a time: two views of one report are equal.
    pub(crate) fn timeless(self) -> Self {
        Self { at: None, ..self }
    }

    /// The same, created at `at`.
    #[cfg(test)]
    pub(crate) fn at(self, at: SystemTime) -> Self {
        Self {
            at: Some(at),
            ..self
        }
    }

    /// The overall status; in the answer for one dependency, its own.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What the caller may see.
    pub fn detail(&self) -> Detail {
        match self.full {
            None => Detail::Status,
            Some(_) => Detail::Full,
        }
    }

    /// The probe's path without the first slash, as in `readyz`; `health` if made by [`new`](Self::new).
    pub fn name(&self) -> &'a str {
        self.question.name
    }

    /// Whether the request has `?verbose`. Never without details.
    pub fn is_verbose(&self) -> bool {
        self.question.verbose
    }

    /// The reason, if it is the app's lifecycle. None without details.
    pub fn reason(&self) -> Option<Reason> {
        self.full.and_then(|report| report.reason)
    }

    /// The app's message for that reason, as in a maintenance. None without details.
    pub fn message(&self) -> Option<&'a str> {
        self.full.and_then(|report| report.message.as_deref())
    }

    /// The info fields in their order. None without details.
    pub fn info(&self) -> &'a [(Cow<'static, str>, Cow<'static, str>)] {
        self.full.map_or(&[], |report| &report.info)
    }

    /// The dependencies in the order of their registration. None without details.
    pub fn entries(&self) -> &'a [ReportEntry] {
        self.full.map_or(&[], |report| &report.entries)
    }

    /// The dependency, in the answer for one dependency.
    pub fn single_entry(&self) -> Option<&'a ReportEntry> {
        self.entries().first().filter(|_| self.single)
    }

    /// The names of all groups, each once. None without details.
    pub fn groups(&self) -> &'a [Cow<'static, str>] {
        self.question.groups
    }

    /// When the last completed run of `entry` started, by the wall clock.
    ///
    /// Calculated back from now, because runs are timed by a monotonic clock: a wall clock that was set
    /// between the run and the response does not show. `None` before the first run and without measurements.
    pub fn checked_at(&self, entry: &ReportEntry) -> Option<SystemTime> {
        self.at?.checked_sub(entry.age?)
    }

    /// When the view was created, by the wall clock. `None` without details and without measurements.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.at
    }

    /// Whether the instance is in rotation. `None` without details.
    #[cfg(feature = "html")]
    pub(super) fn rotation(&self) -> Option<&'a Rotation> {
        self.full.map(|report| &report.rotation)
    }

    /// Names to exclude that match nothing. None without details.
    pub(super) fn unmatched(&self) -> &'a [String] {
        self.question.unmatched
    }

    pub(super) fn full(&self) -> Option<&'a Report> {
        self.full
    }
}
