//! The format of Spring Boot Actuator, version 3, so that its dashboards work unchanged.
//!
//! `UP` is up and degraded, which Spring lacks: `description` is `degraded` for callers with details. `DOWN` is
//! down, `UNKNOWN` is unknown, and `OUT_OF_SERVICE` is an app that is draining. Components are sorted by name,
//! as in Spring. The format has no place for info fields.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    json::to_json,
    view::{View, explanation},
};
use crate::report::{Reason, ReportEntry, Status, serialize_some};

pub(super) fn spring(view: &View<'_>) -> Bytes {
    if let Some(entry) = view.single_entry() {
        return to_json(&Component::new(entry));
    }
    let components = view.entries().iter();
    to_json(&SpringHealth {
        status: match view.reason() {
            Some(Reason::Draining) => "OUT_OF_SERVICE",
            _ => spring_status(view.status()),
        },
        description: view.explanation().or_else(|| {
            let degraded = view.report().and(degraded(view.status()));
            degraded.map(str::to_owned)
        }),
        components: components
            .map(|entry| (&*entry.name, Component::new(entry)))
            .collect(),
        groups: view.groups(),
    })
}

fn spring_status(status: Status) -> &'static str {
    match status {
        Status::Up | Status::Degraded => "UP",
        Status::Unknown => "UNKNOWN",
        Status::Down => "DOWN",
    }
}

fn degraded(status: Status) -> Option<&'static str> {
    (status == Status::Degraded).then_some(status.as_str())
}

// As in Spring, empty collections have no key.
#[derive(Serialize)]
struct SpringHealth<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    components: BTreeMap<&'a str, Component<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [Cow<'static, str>],
}

#[derive(Serialize)]
struct Component<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    details: ComponentDetails<'a>,
}

impl<'a> Component<'a> {
    fn new(entry: &'a ReportEntry) -> Self {
        Self {
            status: spring_status(entry.status),
            description: degraded(entry.status),
            details: ComponentDetails(entry),
        }
    }
}

/// The native entry without its status, and with Spring's key for the error.
struct ComponentDetails<'a>(&'a ReportEntry);

impl Serialize for ComponentDetails<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(entry) = *self;
        let mut map = serializer.serialize_map(None)?;
        let error = entry.reason.map(|_| explanation(entry));
        serialize_some(&mut map, "error", error)?;
        entry.serialize_details(&mut map)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{View, spring};
    use crate::{
        access::Detail,
        render::view::{RequestContext, sample},
        report::{Reason, Report, Status},
    };

    #[test]
    fn components_are_sorted_by_name() {
        let report = sample::report();
        let groups = ["storage".into()];
        let view = sample::full(&report).with_request(RequestContext {
            groups: &groups,
            ..RequestContext::default()
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
    fn one_dependency_is_one_component() {
        let report = Report::new(vec![sample::entry("database", Status::Unknown)], [].into());
        assert_eq!(
            spring(&View::single(&report, Detail::Full)),
            r#"{"status":"UNKNOWN","details":{"required":true}}"#
        );
    }

    #[test]
    fn each_status_is_mapped_and_empty_collections_have_no_key() {
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
