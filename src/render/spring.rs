//! The format of Spring Boot Actuator, version 3, so that its dashboards work unchanged.
//!
//! `UP` is up and degraded, which Spring lacks (`description` says `degraded` to callers with details); `DOWN`
//! is down, `UNKNOWN` is unknown, and `OUT_OF_SERVICE` is an app that drains. Components are sorted by
//! name, as Spring sorts them. Info fields have no place in it.

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{View, sentence, to_json};
use crate::report::{Reason, ReportEntry, Status};

/// The Spring format.
pub(crate) fn spring(view: &View<'_>) -> Bytes {
    match view.single_entry() {
        Some(entry) => to_json(&Component(entry)),
        None => to_json(&Whole(view)),
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Up | Status::Degraded => "UP",
        Status::Unknown => "UNKNOWN",
        Status::Down => "DOWN",
    }
}

struct Whole<'v, 'a>(&'v View<'a>);

impl Serialize for Whole<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.0;
        let status = match view.reason() {
            Some(Reason::Draining) => "OUT_OF_SERVICE",
            _ => word(view.status()),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", status)?;
        if view.full().is_none() {
            return map.end();
        }
        if let Some(reason) = view.reason() {
            map.serialize_entry("description", &sentence(&reason, view.message()))?;
        } else if view.status() == Status::Degraded {
            map.serialize_entry("description", &view.status())?;
        }
        // As Spring does, without keys of empty collections.
        if !view.entries().is_empty() {
            let mut entries: Vec<_> = view.entries().iter().collect();
            entries.sort_unstable_by_key(|entry| &*entry.name);
            map.serialize_entry("components", &Components(&entries))?;
        }
        if !view.groups().is_empty() {
            map.serialize_entry("groups", view.groups())?;
        }
        map.end()
    }
}

struct Components<'a>(&'a [&'a ReportEntry]);

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|&entry| (&*entry.name, Component(entry))))
    }
}

struct Component<'a>(&'a ReportEntry);

impl Serialize for Component<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(entry) = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", word(entry.status))?;
        if entry.status == Status::Degraded {
            map.serialize_entry("description", &entry.status)?;
        }
        map.serialize_entry("details", &Details(entry))?;
        map.end()
    }
}

/// The native entry without its status, and with Spring's key for the error.
struct Details<'a>(&'a ReportEntry);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(entry) = *self;
        let mut map = serializer.serialize_map(None)?;
        if let (Some(reason), false) = (entry.reason, entry.status == Status::Up) {
            map.serialize_entry("error", &sentence(&reason, entry.message.as_deref()))?;
        }
        entry.serialize_details(&mut map)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{View, sample, view::Question},
        spring,
    };
    use crate::{
        access::Detail,
        report::{Reason, Report, Status},
    };

    #[test]
    fn the_whole_has_components_sorted_by_name() {
        let report = sample::report();
        let groups = ["storage".into()];
        let view = sample::full(&report).of(Question {
            groups: &groups,
            ..Question::default()
        });
        assert_eq!(
            spring(&view),
            concat!(
                r#"{"status":"UP","description":"degraded","components":{"#,
                r#""cache":{"status":"DOWN","details":{"error":"timeout: no answer within 800 ms","#,
                r#""kind":"redis","required":false,"reason":"timeout","message":"no answer within 800 ms","#,
                r#""failing_for_ms":12000,"consecutive_failures":12,"duration_ms":800.2,"age_ms":310}},"#,
                r#""database":{"status":"UP","details":{"kind":"postgres","required":true,"#,
                r#""duration_ms":0.31,"age_ms":420,"pool":{"max":10,"open":10,"idle":8,"in_use":2},"#,
                r#""observations":{"lag_ms":3}}},"#,
                r#""pool":{"status":"UP","description":"degraded","details":{"error":"saturated","#,
                r#""kind":"pool","required":true,"reason":"saturated","duration_ms":2.0,"age_ms":10}}},"#,
                r#""groups":["storage"]}"#
            )
        );
    }

    #[test]
    fn one_dependency_is_a_component_alone() {
        let report = Report::new(vec![sample::entry("database", Status::Unknown)], [].into());
        assert_eq!(
            spring(&View::single(&report, Detail::Full)),
            r#"{"status":"UNKNOWN","details":{"required":true}}"#
        );
    }

    #[test]
    fn each_status_has_its_word_and_empty_collections_no_key() {
        let mut report = Report::new(Vec::new(), [].into());
        for (status, reason, full, without) in [
            (Status::Up, None, r#"{"status":"UP"}"#, r#"{"status":"UP"}"#),
            (
                Status::Degraded,
                None,
                r#"{"status":"UP","description":"degraded"}"#,
                r#"{"status":"UP"}"#,
            ),
            (
                Status::Unknown,
                Some(Reason::Starting),
                r#"{"status":"UNKNOWN","description":"starting"}"#,
                r#"{"status":"UNKNOWN"}"#,
            ),
            (
                Status::Down,
                Some(Reason::Draining),
                r#"{"status":"OUT_OF_SERVICE","description":"draining"}"#,
                r#"{"status":"DOWN"}"#,
            ),
        ] {
            (report.status, report.reason) = (status, reason);
            assert_eq!(spring(&sample::full(&report)), full);
            assert_eq!(spring(&sample::without_details(&report)), without);
        }
    }
}
