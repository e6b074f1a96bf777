use std::{borrow::Cow, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{AsMap, Reason, ReportEntry, Status, serialize_some};

/// The result of one probe as data: the overall status and the entries of the dependencies.
///
/// It serializes to native JSON with all details: send it only to callers who may see them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The overall status: the worst of the entries' effective statuses, and of the lifecycle.
    pub status: Status,
    /// The reason of the app itself: `starting`, `draining` or `maintenance`.
    ///
    /// The report of an unknown group has the reason `not_found`.
    pub reason: Option<Reason>,
    /// The app's message for that reason, such as that of a maintenance. No credentials.
    pub message: Option<Cow<'static, str>>,
    /// The info fields, such as `version`.
    pub info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    /// The dependencies of the probe, in the order of registration.
    pub entries: Vec<ReportEntry>,
}

impl Report {
    /// Creates a report with the worst of the effective statuses; without entries it is up.
    pub(crate) fn new(
        entries: Vec<ReportEntry>,
        info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    ) -> Self {
        let worst = entries.iter().map(ReportEntry::effective_status).max();
        Self {
            status: worst.unwrap_or(Status::Up),
            reason: None,
            message: None,
            info,
            entries,
        }
    }

    /// Adds the reason of the lifecycle.
    ///
    /// The status becomes `status` if that is worse.
    #[must_use]
    pub(crate) fn with_lifecycle(
        self,
        status: Status,
        reason: Reason,
        message: Option<Cow<'static, str>>,
    ) -> Self {
        Self {
            status: self.status.max(status),
            reason: Some(reason),
            message,
            ..self
        }
    }

    /// Removes times, counters, observations and messages.
    ///
    /// Two such reports differ only if a status or a reason differs.
    #[must_use]
    pub(crate) fn without_measurements(mut self) -> Self {
        self.message = None;
        let entries = self.entries.into_iter();
        self.entries = entries.map(ReportEntry::without_measurements).collect();
        self
    }

    /// Returns the entry of the dependency called `name`.
    pub fn entry(&self, name: &str) -> Option<&ReportEntry> {
        self.entries.iter().find(|entry| &*entry.name == name)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.status)?;
        serialize_some(&mut map, "reason", self.reason)?;
        serialize_some(&mut map, "message", self.message.as_ref())?;
        for (name, value) in self.info.iter() {
            map.serialize_entry(name, value)?;
        }
        let checks = self.entries.iter().map(|entry| (&*entry.name, entry));
        map.serialize_entry("checks", &AsMap(checks))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{Report, ReportEntry, Status};
    use crate::report::{CheckRun, Excluded, History, Observations, PoolStats, Reason};

    const STATUSES: [Status; 4] = [Status::Up, Status::Degraded, Status::Unknown, Status::Down];

    fn entry(name: &str, required: bool, status: Status) -> ReportEntry {
        ReportEntry::new(name.into(), required, status)
    }

    fn overall_status(entries: &[ReportEntry]) -> Status {
        Report::new(entries.to_vec(), [].into()).status
    }

    #[test]
    fn without_measurements_only_statuses_and_reasons_remain() {
        let time = Some(Duration::from_millis(7));
        let observations = Observations {
            pool: Some(PoolStats::new(10, 10, 8)),
            ..Observations::default()
        };
        let kept = ReportEntry {
            kind: Some("postgres".into()),
            target: Some("db:5432".into()),
            reason: Some(Reason::Timeout),
            excluded: Some(Excluded::ByName),
            ..entry("database", false, Status::Down)
        };
        let measured = ReportEntry {
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
            history: History::default().with(CheckRun::new(Status::Down, None, 7)),
            ..kept.clone()
        };
        let report = |entry, message: Option<&'static str>| {
            let info = [("version".into(), "2.0.0".into())];
            Report::new(vec![entry], info.into()).with_lifecycle(
                Status::Down,
                Reason::Maintenance,
                message.map(Into::into),
            )
        };
        assert_eq!(measured.history().len(), 1);
        let measured = report(measured, Some("back at noon"));
        let bare = report(kept, None);
        assert_ne!(format!("{measured:?}"), format!("{bare:?}"));
        assert_eq!(
            format!("{:?}", measured.without_measurements()),
            format!("{bare:?}")
        );
    }

    #[test]
    fn an_entry_is_found_by_its_name() {
        let entries = vec![entry("a", true, Status::Up), entry("b", true, Status::Down)];
        let report = Report::new(entries, [].into());
        let status_of = |name| report.entry(name).map(|entry| entry.status);
        assert_eq!(status_of("a"), Some(Status::Up));
        assert_eq!(status_of("b"), Some(Status::Down));
        assert_eq!(status_of("c"), None);
    }

    #[test]
    fn the_worst_status_counts_and_optional_ones_only_degrade() {
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
        for (statuses, expected) in table {
            let entries = statuses
                .iter()
                .map(|&(required, status)| entry("x", required, status));
            let entries: Vec<_> = entries.collect();
            assert_eq!(overall_status(&entries), *expected, "{statuses:?}");
        }
    }

    #[test]
    fn keys_keep_the_order_of_registration() {
        let entries = vec![
            entry("zebra", true, Status::Up),
            entry("ant", true, Status::Up),
        ];
        let info = [("version".into(), "1".into())];
        let json = serde_json::to_string(&Report::new(entries, info.into())).expect("serializes");
        assert_eq!(
            json,
            r#"{"status":"up","version":"1","checks":{"zebra":{"status":"up","required":true},"ant":{"status":"up","required":true}}}"#
        );
    }

    fn entries() -> impl Strategy<Value = Vec<ReportEntry>> {
        let one = (any::<bool>(), select(&STATUSES[..]));
        let one = one.prop_map(|(required, status)| entry("x", required, status));
        vec(one, 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_order_of_entries_does_not_matter(
            (entries, shuffled) in entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            prop_assert_eq!(overall_status(&entries), overall_status(&shuffled));
        }

        #[test]
        fn a_worse_entry_never_improves_the_overall_status(
            entries in entries(),
            at in any::<prop::sample::Index>(),
            status in select(&STATUSES[..]),
        ) {
            prop_assume!(!entries.is_empty());
            let mut worse = entries.clone();
            let entry = &mut worse[at.index(entries.len())];
            entry.status = entry.status.max(status);
            prop_assert!(overall_status(&worse) >= overall_status(&entries));
        }

        #[test]
        fn one_more_optional_entry_never_stops_serving(
            entries in entries(),
            status in select(&STATUSES[..]),
        ) {
            let before = overall_status(&entries);
            let with_one_more = |required| {
                overall_status(&[entries.clone(), vec![entry("x", required, status)]].concat())
            };
            prop_assert!(with_one_more(true) >= with_one_more(false));
            prop_assert!(with_one_more(false) >= before);
            prop_assert_eq!(with_one_more(false).is_serving(), before.is_serving());
            prop_assert_eq!(with_one_more(true).is_serving(), before.is_serving() && status.is_serving());
        }
    }
}
