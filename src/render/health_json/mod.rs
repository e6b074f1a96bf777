//! `application/health+json`, after draft-inadarei-api-health-check-06.
//!
//! 1. `pass` for up, `warn` for degraded, `fail` for down and unknown.
//! 2. Only what does not pass has `output`.
//! 3. `checks` maps `{component}:{measurement}` to an array. A colon in a name is written `%3A`, because it
//!    would separate, hence `%` as `%25`; `componentId` is the name itself.
//! 4. Each dependency has `responseTime`; `connections` (in use) if it has a pool; and one measurement for
//!    each observation of its check.
//! 5. The info fields `version`, `releaseId`, `serviceId` and `description` are the draft's own; the
//!    others are notes.
//! 6. No `links` and no `affectedEndpoints`: they are unknown here.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt::Display};

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{View, sentence, time::Iso8601, to_json};
use crate::report::{ObservedValue, ReportEntry, Status, rounded_millis};

/// Info fields that are fields of the draft.
const PLACES: [&str; 4] = ["version", "releaseId", "serviceId", "description"];

/// The health+json format.
pub(crate) fn health_json(view: &View<'_>) -> Bytes {
    to_json(&Whole(view))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "pass",
        Status::Degraded => "warn",
        Status::Unknown | Status::Down => "fail",
    }
}

struct Whole<'v, 'a>(&'v View<'a>);

impl Serialize for Whole<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", word(view.status()))?;
        // They describe the app, not one dependency.
        let info = match view.single_entry() {
            None => view.info(),
            Some(_) => &[],
        };
        let (placed, noted): (Vec<_>, Vec<_>) = info
            .iter()
            .partition(|(name, _)| PLACES.contains(&name.as_ref()));
        for (name, value) in placed {
            map.serialize_entry(name, value)?;
        }
        if !noted.is_empty() {
            let notes: Vec<_> = noted
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            map.serialize_entry("notes", &notes)?;
        }
        if let (Some(reason), false) = (view.reason(), view.status() == Status::Up) {
            map.serialize_entry("output", &sentence(&reason, view.message()))?;
        }
        if !view.entries().is_empty() {
            map.serialize_entry("checks", &Checks(view))?;
        }
        map.end()
    }
}

struct Checks<'v, 'a>(&'v View<'a>);

impl Serialize for Checks<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.0;
        let mut map = serializer.serialize_map(None)?;
        for entry in view.entries().iter().filter(|entry| !entry.is_excluded()) {
            let component = without_colon(&entry.name);
            let time = view.checked_at(entry).map(Iso8601);
            for (measurement, measures) in measurements(entry) {
                let measures: Vec<_> = measures
                    .into_iter()
                    .map(|measure| Object {
                        entry,
                        measure,
                        time: time.as_ref().map(ToString::to_string),
                    })
                    .collect();
                let key = format!("{component}:{}", without_colon(&measurement));
                map.serialize_entry(&key, &measures)?;
            }
        }
        map.end()
    }
}

/// A measured value in its unit.
enum Measure<'a> {
    Nothing,
    Milliseconds(f64),
    Connections {
        in_use: u32,
        max: u32,
        open: u32,
        idle: u32,
    },
    Observed(&'a ObservedValue),
}

/// The measurements of `entry`, each name once: observations may share a name.
fn measurements(entry: &ReportEntry) -> Vec<(Cow<'_, str>, Vec<Measure<'_>>)> {
    let time = match entry.duration {
        Some(duration) => Measure::Milliseconds(rounded_millis(duration)),
        None => Measure::Nothing,
    };
    let mut all = vec![(Cow::Borrowed("responseTime"), vec![time])];
    if let Some(pool) = entry.pool() {
        let measure = Measure::Connections {
            in_use: pool.in_use,
            max: pool.max,
            open: pool.open,
            idle: pool.idle,
        };
        all.push(("connections".into(), vec![measure]));
    }
    for (name, value) in entry.observations() {
        let measure = Measure::Observed(value);
        match all.iter_mut().find(|(other, _)| other == name) {
            Some((_, measures)) => measures.push(measure),
            None => all.push((name.into(), vec![measure])),
        }
    }
    all
}

struct Object<'a> {
    entry: &'a ReportEntry,
    measure: Measure<'a>,
    time: Option<String>,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { entry, .. } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("componentId", &*entry.name)?;
        map.serialize_entry("componentType", component_type(entry))?;
        match &self.measure {
            Measure::Nothing => {}
            Measure::Milliseconds(value) => observed(&mut map, value, Some("ms"))?,
            Measure::Connections {
                in_use,
                max,
                open,
                idle,
            } => {
                observed(&mut map, in_use, Some("connections"))?;
                map.serialize_entry("max", max)?;
                map.serialize_entry("open", open)?;
                map.serialize_entry("idle", idle)?;
            }
            Measure::Observed(value) => observed(&mut map, value, None)?,
        }
        map.serialize_entry("status", word(entry.status))?;
        if let Some(time) = &self.time {
            map.serialize_entry("time", time)?;
        }
        if entry.status != Status::Up {
            map.serialize_entry("output", &output(entry))?;
        }
        map.end()
    }
}

fn observed<M: SerializeMap>(
    map: &mut M,
    value: &impl Serialize,
    unit: Option<&str>,
) -> Result<(), M::Error> {
    map.serialize_entry("observedValue", value)?;
    match unit {
        Some(unit) => map.serialize_entry("observedUnit", unit),
        None => Ok(()),
    }
}

fn component_type(entry: &ReportEntry) -> &'static str {
    match entry.kind.as_deref() {
        Some("postgres" | "redis" | "pool") => "datastore",
        _ => "component",
    }
}

fn output(entry: &ReportEntry) -> String {
    let word: &dyn Display = match &entry.reason {
        Some(reason) => reason,
        None => &entry.status,
    };
    sentence(word, entry.message.as_deref())
}

/// `name` without a colon; different names stay different.
fn without_colon(name: &str) -> Cow<'_, str> {
    if name.contains([':', '%']) {
        name.replace('%', "%25").replace(':', "%3A").into()
    } else {
        name.into()
    }
}
