use std::{borrow::Cow, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Reason, ReportEntry, Status};

/// The answer to one probe as data: the overall status and the entries of the dependencies.
///
/// It serializes to native JSON with all details: send it only to callers who may see them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The overall status: the worst of the entries' effective statuses, and of the lifecycle.
    pub status: Status,
    /// The reason, if it is the app's lifecycle: starting, draining or maintenance.
    pub reason: Option<Reason>,
    /// The app's message for that reason, as in a maintenance. No credentials.
    pub message: Option<Cow<'static, str>>,
    /// The info fields, as in `version`.
    pub info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    /// The dependencies of the probe, in the order of registration.
    pub entries: Vec<ReportEntry>,
    pub(crate) rotation: Rotation,
}

/// Whether the instance is in rotation, as its readiness probe says. Only the status page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    In,
    /// For a reason of the app's lifecycle; without one, because of a dependency.
    Out {
        reason: Option<Reason>,
        message: Option<Cow<'static, str>>,
    },
}

impl Report {
    /// A report over `entries`, the worst of which counts. None at all: up.
    pub(crate) fn of(
        entries: Vec<ReportEntry>,
        info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    ) -> Self {
        Self {
            status: worst(&entries),
            reason: None,
            message: None,
            info,
            entries,
            rotation: Rotation::In,
        }
    }

    /// The same with the lifecycle's word on it: down, whatever the dependencies say.
    #[must_use]
    pub(crate) fn overruled(mut self, status: Status, reason: Reason) -> Self {
        self.status = self.status.max(status);
        self.reason = Some(reason);
        self
    }

    /// The same with a sentence to the reason.
    #[must_use]
    pub(crate) fn saying(mut self, message: Option<Cow<'static, str>>) -> Self {
        self.message = message;
        self
    }

    /// The same without times, counters, observations and messages: two that differ, differ in a
    /// status or a reason.
    #[must_use]
    pub(crate) fn stable(mut self) -> Self {
        self.message = None;
        if let Rotation::Out { message, .. } = &mut self.rotation {
            *message = None;
        }
        self.entries = self.entries.into_iter().map(ReportEntry::stable).collect();
        self
    }

    /// The entry of the dependency called `name`.
    pub fn entry(&self, name: &str) -> Option<&ReportEntry> {
        self.entries.iter().find(|entry| &*entry.name == name)
    }
}

/// The worst of what counts; up when there is nothing.
fn worst(entries: &[ReportEntry]) -> Status {
    entries
        .iter()
        .map(ReportEntry::effective_status)
        .max()
        .unwrap_or(Status::Up)
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.status)?;
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", &reason)?;
        }
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        for (name, value) in self.info.iter() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("checks", &ByName(&self.entries))?;
        map.end()
    }
}

/// Entries as a JSON object from name to entry, in order of registration.
struct ByName<'a>(&'a [ReportEntry]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|entry| (&*entry.name, entry)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::{Report, ReportEntry, Status};
    use crate::report::{CheckRun, Excluded, History, Observations, PoolStats, Reason};

    pub(in crate::report) fn entry(name: &str, required: bool, status: Status) -> ReportEntry {
        ReportEntry::new(name.into(), required, status)
    }

    /// Whoever compares two answers sees what a person would call a change, and nothing else.
    #[test]
    fn what_is_stable_has_no_number_and_no_sentence() {
        let time = Some(Duration::from_millis(7));
        let observations = Observations {
            pool: Some(PoolStats::new(10, 10, 8)),
            ..Observations::default()
        };
        let lasting = ReportEntry {
            kind: Some("postgres".into()),
            target: Some("db:5432".into()),
            reason: Some(Reason::Timeout),
            excluded: Some(Excluded::ByName),
            ..entry("database", false, Status::Down)
        };
        let passing = ReportEntry {
            message: Some("no answer within 800 ms".into()),
            duration: time,
            age: time,
            failing_for: time,
            last_up: time,
            never_up: true,
            timeout: time,
            interval: time,
            consecutive_failures: 12,
            pending_for: time,
            status_for: time,
            observations,
            history: History::default().then(CheckRun::of(Status::Down, None, 7)),
            ..lasting.clone()
        };
        let info = || [("version".into(), "2.0.0".into())].into();
        assert_eq!(passing.history().len(), 1);
        let said = Report::of(vec![passing], info()).saying(Some("back at noon".into()));
        let bare = Report::of(vec![lasting], info());
        assert_ne!(format!("{said:?}"), format!("{bare:?}"));
        assert_eq!(format!("{:?}", said.stable()), format!("{bare:?}"));
    }

    #[test]
    fn an_entry_is_found_by_its_name() {
        let entries = vec![entry("a", true, Status::Up), entry("b", true, Status::Down)];
        let report = Report::of(entries, [].into());
        let status_of = |name| report.entry(name).map(|entry| entry.status);
        assert_eq!(status_of("a"), Some(Status::Up));
        assert_eq!(status_of("b"), Some(Status::Down));
        assert_eq!(status_of("c"), None);
    }

    #[test]
    fn the_worst_counts_and_an_optional_one_degrades_at_most() {
        use Status::{Degraded, Down, Unknown, Up};
        let table: &[(&[(bool, Status)], Status)] = &[
            (&[], Up),
            (&[(true, Up)], Up),
            (&[(true, Up), (true, Degraded)], Degraded),
            (&[(true, Up), (false, Down)], Degraded),
            (&[(true, Up), (false, Unknown)], Degraded),
            (&[(true, Unknown), (false, Down)], Unknown),
            (&[(true, Unknown), (true, Up)], Unknown),
            (&[(true, Down), (true, Unknown)], Down),
            (&[(false, Up), (false, Up)], Up),
        ];
        for (parts, expected) in table {
            let entries = parts
                .iter()
                .map(|&(required, status)| entry("x", required, status))
                .collect();
            let report = Report::of(entries, [].into());
            assert_eq!(report.status, *expected, "{parts:?}");
        }
    }

    #[test]
    fn keys_keep_the_order_of_registration() {
        let entries = vec![
            entry("zebra", true, Status::Up),
            entry("ant", true, Status::Up),
        ];
        let info = [("version".into(), "1".into())];
        let json = serde_json::to_string(&Report::of(entries, info.into())).expect("serialises");
        assert_eq!(
            json,
            r#"{"status":"up","version":"1","checks":{"zebra":{"status":"up","required":true},"ant":{"status":"up","required":true}}}"#
        );
    }
}
