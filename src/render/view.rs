use std::{borrow::Cow, time::SystemTime};

#[cfg(feature = "html")]
use crate::report::Rotation;
use crate::{
    access::Detail,
    report::{Reason, Report, ReportEntry, Status},
};

/// A report cut down to what its reader may see.
///
/// All that a [`Render`](crate::Render) gets. Without details the accessors have
/// nothing to give: a renderer needs no `if` to keep a secret.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    status: Status,
    /// The rest, for those who may see it.
    full: Option<&'a Report>,
    single: bool,
    question: Question<'a>,
    /// `None` for a stranger, and where times are left out.
    at: Option<SystemTime>,
}

/// What was asked, beside which probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// What the answer calls the probe: its path, which the asker knows.
    pub(crate) name: &'a str,
    /// Whether a passing probe is spelt out, too.
    pub(crate) verbose: bool,
    /// What the asker wanted left out and nothing is called.
    pub(crate) unmatched: &'a [String],
    /// The groups that dependencies are in.
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
    /// `report` as seen with `detail`.
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

    /// The view of the one dependency that `report` is about.
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

    /// The same as the answer to `question`, of which a stranger's view keeps the name alone.
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

    /// The same without a time of its own: two of one report are the same.
    pub(crate) fn timeless(self) -> Self {
        Self { at: None, ..self }
    }

    /// The same made at another time.
    #[cfg(test)]
    pub(crate) fn at(self, at: SystemTime) -> Self {
        Self {
            at: Some(at),
            ..self
        }
    }

    /// The status of the whole; of the dependency itself in the answer for one.
    pub fn status(&self) -> Status {
        self.status
    }

    /// How much its reader may see.
    pub fn detail(&self) -> Detail {
        match self.full {
            None => Detail::Status,
            Some(_) => Detail::Full,
        }
    }

    /// What the probe is called: its path without the first slash, as in `readyz`.
    ///
    /// `health` where a view was cut by hand.
    pub fn name(&self) -> &'a str {
        self.question.name
    }

    /// Whether the asker wants a passing probe spelt out (`?verbose`). Never without details.
    pub fn is_verbose(&self) -> bool {
        self.question.verbose
    }

    /// Why, where it is the app's own lifecycle. Nothing without details.
    pub fn reason(&self) -> Option<Reason> {
        self.full.and_then(|report| report.reason)
    }

    /// What the app says about that reason, as for a maintenance. Nothing without details.
    pub fn message(&self) -> Option<&'a str> {
        self.full.and_then(|report| report.message.as_deref())
    }

    /// The app's fields in their order. None without details.
    pub fn info(&self) -> &'a [(Cow<'static, str>, Cow<'static, str>)] {
        self.full.map_or(&[], |report| &report.info)
    }

    /// The dependencies in the order of their registration. None without details.
    pub fn entries(&self) -> &'a [ReportEntry] {
        self.full.map_or(&[], |report| &report.entries)
    }

    /// The dependency, in the answer for one.
    pub fn single_entry(&self) -> Option<&'a ReportEntry> {
        self.entries().first().filter(|_| self.single)
    }

    /// The names of the groups that dependencies are in, each once. None without details.
    pub fn groups(&self) -> &'a [Cow<'static, str>] {
        self.question.groups
    }

    /// When the last completed run of `entry` started, by the wall clock.
    ///
    /// Reckoned back from now, since runs are timed by a clock that never jumps: a
    /// wall clock that was set between the run and the answer does not show. `None`
    /// before the first run and where times are left out.
    pub fn checked_at(&self, entry: &ReportEntry) -> Option<SystemTime> {
        self.at?.checked_sub(entry.age?)
    }

    /// When it was made, by the wall clock. `None` without details and where times are left out.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.at
    }

    /// Whether the instance is in rotation. `None` without details.
    #[cfg(feature = "html")]
    pub(super) fn rotation(&self) -> Option<&'a Rotation> {
        self.full.map(|report| &report.rotation)
    }

    /// What the asker wanted left out and nothing is called. None without details.
    pub(super) fn unmatched(&self) -> &'a [String] {
        self.question.unmatched
    }

    pub(super) fn full(&self) -> Option<&'a Report> {
        self.full
    }
}
