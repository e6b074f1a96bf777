use std::borrow::Cow;

use crate::report::{Entry, Reason, Report, Status};

/// How much an asker may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Complete for ever: between nothing and all lies a leak.
pub enum Detail {
    /// The status of the whole.
    Status,
    /// Everything: names, reasons, timings, pool numbers, the app's fields.
    Full,
}

/// A report cut down to what its reader may see.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    status: Status,
    /// The rest, for those who may see it.
    full: Option<&'a Report>,
    single: bool,
}

impl<'a> View<'a> {
    /// `report` as seen with `detail`.
    pub fn cut(report: &'a Report, detail: Detail) -> Self {
        Self {
            status: report.status,
            full: match detail {
                Detail::Status => None,
                Detail::Full => Some(report),
            },
            single: false,
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
            ..Self::cut(report, detail)
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
    pub fn entries(&self) -> &'a [Entry] {
        self.full.map_or(&[], |report| &report.entries)
    }

    /// The dependency, in the answer for one.
    pub fn single_entry(&self) -> Option<&'a Entry> {
        self.entries().first().filter(|_| self.single)
    }

    pub(super) fn full(&self) -> Option<&'a Report> {
        self.full
    }
}
