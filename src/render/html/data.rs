//! What the page asks for every 2 s: the native JSON, and what only a drawing needs.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    render::{View, json::status_alone, to_json},
    report::{Reason, ReportEntry, Status, rounded_millis, whole_millis},
};

/// The page's data. To a stranger it is the same as the native JSON.
pub(in crate::render) fn page_data(view: &View<'_>) -> Bytes {
    if view.full().is_none() {
        return status_alone(view.status());
    }
    to_json(&Data {
        status: view.status(),
        at: view
            .created_at()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .map(whole_millis),
        reason: view.reason(),
        message: view.message(),
        checks: ByName(view.entries()),
    })
}

#[derive(Serialize)]
struct Data<'a> {
    status: Status,
    /// Milliseconds since 1970 by the server's clock: the reader's may be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    reason: Option<Reason>,
    message: Option<&'a str>,
    checks: ByName<'a>,
}

struct ByName<'a>(&'a [ReportEntry]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|entry| (&*entry.name, WithPast(entry))))
    }
}

/// A native entry and its past.
struct WithPast<'a>(&'a ReportEntry);

impl Serialize for WithPast<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.0;
        let runs = entry.history().iter();
        let runs: Vec<_> = runs
            .map(|run| (run.status, rounded_millis(run.duration)))
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &entry.status)?;
        entry.serialize_details(&mut map)?;
        map.serialize_entry("status_for_ms", &entry.status_for.map(whole_millis))?;
        map.serialize_entry("runs", &runs)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::page_data;
    use crate::{
        render::sample,
        report::{History, Report, ReportEntry, Status},
    };

    #[test]
    fn it_is_the_native_json_and_the_past() {
        let entry = ReportEntry {
            status_for: Some(Duration::from_secs(3)),
            history: History::default()
                .then(Status::Up, Duration::from_micros(310))
                .then(Status::Down, Duration::from_millis(800)),
            ..sample::entry("database", Status::Down)
        };
        let report = Report::of(vec![entry], [].into());
        let data = page_data(&sample::full(&report));
        let data: Value = serde_json::from_slice(&data).expect("JSON");
        let expected = json!({
            "status": "down",
            "at": 1_516_160_208_000_u64,
            "reason": null,
            "message": null,
            "checks": {"database": {
                "status": "down",
                "required": true,
                "status_for_ms": 3000,
                "runs": [["up", 0.31], ["down", 800.0]],
            }},
        });
        assert_eq!(data, expected);
    }

    #[test]
    fn a_stranger_gets_the_status() {
        let report = sample::report();
        let data = page_data(&sample::stranger(&report));
        assert_eq!(data, r#"{"status":"degraded"}"#);
    }
}
