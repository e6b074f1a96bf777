//! `{"status":"UP","checks":{…},"errors":{…}}`.

use serde::{Serialize, Serializer};
use tower_health::{
    Status,
    render::{Render, View},
    report::ReportEntry,
};

pub(crate) struct UpOrDown;

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    #[serde(serialize_with = "statuses")]
    checks: &'a [ReportEntry],
    #[serde(serialize_with = "errors")]
    errors: &'a [ReportEntry],
}

impl Render for UpOrDown {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let entries = view.entries();
        serde_json::to_vec(&Answer {
            status: up_or_down(view.status()),
            checks: entries,
            errors: entries,
        })
        .expect("a plain struct with string keys")
    }
}

fn statuses<S: Serializer>(entries: &&[ReportEntry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        entries
            .iter()
            .map(|entry| (&*entry.name, up_or_down(entry.status))),
    )
}

/// The reason of each check that is not up, with its message; never the raw text of an error.
fn errors<S: Serializer>(entries: &&[ReportEntry], serializer: S) -> Result<S::Ok, S::Error> {
    let failing = entries.iter().filter(|entry| !entry.status.is_serving());
    serializer.collect_map(failing.map(|entry| {
        let reason = entry.reason.map_or("failed", |reason| reason.as_str());
        let error = match &entry.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        };
        (&*entry.name, error)
    }))
}

/// `UP` includes degraded; the log has the reason.
fn up_or_down(status: Status) -> &'static str {
    match status {
        Status::Up | Status::Degraded => "UP",
        Status::Unknown | Status::Down => "DOWN",
    }
}
