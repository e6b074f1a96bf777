//! `application/health+json`, after draft-inadarei-api-health-check-06.
//!
//! 1. `pass` for up, `warn` for degraded, `fail` for down and unknown.
//! 2. `output` is present only if the status is not `pass`.
//! 3. `checks` maps `{component}:{measurement}` to an array. A colon in a name is written `%3A`, because it
//!    would separate, and so `%` is written `%25`. `componentId` is the unchanged name.
//! 4. Each dependency has `responseTime`; `connections` (in use) if it has a pool; and one measurement for
//!    each observation of its check.
//! 5. The info fields `version`, `releaseId`, `serviceId` and `description` are fields of the draft; the
//!    others are notes.
//! 6. `links` and `affectedEndpoints` are left out, because they are unknown here.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    json::to_json,
    time::Iso8601,
    view::{View, explanation},
};
use crate::report::{AsMap, ObservedValue, ReportEntry, Status, rounded_millis, serialize_some};

/// Info fields that are fields of the draft.
const DRAFT_FIELDS: [&str; 4] = ["version", "releaseId", "serviceId", "description"];

pub(super) fn health_json(view: &View<'_>) -> Bytes {
    to_json(&HealthJson(view))
}

fn draft_status(status: Status) -> &'static str {
    match status {
        Status::Up => "pass",
        Status::Degraded => "warn",
        Status::Unknown | Status::Down => "fail",
    }
}

struct HealthJson<'v, 'a>(&'v View<'a>);

impl Serialize for HealthJson<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", draft_status(view.status()))?;
        // Info fields describe the app, not one dependency.
        let info = match view.single_entry() {
            None => view.info(),
            Some(_) => &[],
        };
        let mut notes = Vec::new();
        for (name, value) in info {
            if DRAFT_FIELDS.contains(&&**name) {
                map.serialize_entry(name, value)?;
            } else {
                notes.push(format!("{name}: {value}"));
            }
        }
        serialize_some(&mut map, "notes", (!notes.is_empty()).then_some(notes))?;
        serialize_some(&mut map, "output", view.explanation())?;
        if !view.entries().is_empty() {
            map.serialize_entry("checks", &AsMap(checks(view)))?;
        }
        map.end()
    }
}

/// Returns all measurements by their keys.
fn checks<'a>(view: &View<'a>) -> impl Iterator<Item = (String, Vec<Measurement<'a>>)> + Clone {
    let view = *view;
    let checked = view.entries().iter().filter(|entry| !entry.is_excluded());
    checked.flat_map(move |entry| {
        let component = without_colon(&entry.name);
        let time = view.checked_at(entry).map(|time| Iso8601(time).to_string());
        let all = measurements(entry, time).into_iter();
        all.map(move |(name, values)| (format!("{component}:{}", without_colon(name)), values))
    })
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measurement<'a> {
    component_id: &'a str,
    component_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<ObservedValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    #[serde(flatten)]
    pool: Option<PoolSize>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

#[derive(Clone, Serialize)]
struct PoolSize {
    max: u32,
    open: u32,
    idle: u32,
}

/// Returns the measurements of `entry`, each name once: several observations may have the same name.
fn measurements<'a>(
    entry: &'a ReportEntry,
    time: Option<String>,
) -> Vec<(&'a str, Vec<Measurement<'a>>)> {
    let measurement = |observed_value, observed_unit| Measurement {
        component_id: &entry.name,
        component_type: component_type(entry),
        observed_value,
        observed_unit,
        pool: None,
        status: draft_status(entry.status),
        time: time.clone(),
        output: (entry.status != Status::Up).then(|| explanation(entry)),
    };
    let duration = entry.duration.map(rounded_millis);
    let unit = duration.and(Some("ms"));
    let response_time = measurement(duration.map(ObservedValue::from), unit);
    let mut all = vec![("responseTime", vec![response_time])];
    if let Some(pool) = entry.pool() {
        let connections = Measurement {
            pool: Some(PoolSize {
                max: pool.max,
                open: pool.open,
                idle: pool.idle,
            }),
            ..measurement(Some(pool.in_use.into()), Some("connections"))
        };
        all.push(("connections", vec![connections]));
    }
    for (name, value) in entry.observations() {
        let observation = measurement(Some(value.clone()), None);
        match all.iter_mut().find(|(other, _)| *other == name) {
            Some((_, values)) => values.push(observation),
            None => all.push((name, vec![observation])),
        }
    }
    all
}

fn component_type(entry: &ReportEntry) -> &'static str {
    match entry.kind.as_deref() {
        Some("postgres" | "redis" | "pool") => "datastore",
        _ => "component",
    }
}

/// Returns `name` without a colon. Different names stay different.
fn without_colon(name: &str) -> Cow<'_, str> {
    if name.contains([':', '%']) {
        name.replace('%', "%25").replace(':', "%3A").into()
    } else {
        name.into()
    }
}
