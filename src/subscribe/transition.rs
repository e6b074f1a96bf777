use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};
use tokio::time::Instant;

use crate::{
    dependency::Dependency,
    engine::{flight::Published, verdict::Verdict},
    report::{Reason, Status},
};

/// A dependency's status has changed.
///
/// Serialises to one JSON object with all of it but `at`; show it only to those who may see details:
///
/// ```json
/// {"name":"database","kind":"postgres","required":true,"from":"up","to":"down",
///  "reason":"timeout","message":"no answer within 800 ms","previous_for_ms":86400000}
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transition {
    /// The dependency's name.
    pub name: Arc<str>,
    /// What it is, as in `postgres`.
    pub kind: Option<Cow<'static, str>>,
    /// Whether the app cannot serve without it.
    pub required: bool,
    /// What it showed before; unknown for its first.
    pub from: Status,
    /// What it shows now.
    pub to: Status,
    /// Why it is not up.
    pub reason: Option<Reason>,
    /// A sentence without credentials.
    pub message: Option<Cow<'static, str>>,
    /// How long it had shown what it showed before.
    pub previous_for: Duration,
    /// The end of the run that found it.
    pub at: Instant,
}

impl Transition {
    /// The transition that `published` is, if it is one; `made` is when there was no verdict yet.
    pub(crate) fn of(
        dependency: &Dependency,
        published: &Published<Verdict>,
        made: Instant,
    ) -> Option<Self> {
        let (before, verdict) = (published.previous.as_deref(), &published.value);
        let from = before.map_or(Status::Unknown, |before| before.status);
        if from == verdict.status {
            return None;
        }
        let at = verdict.started + verdict.duration;
        let since = before.and_then(|before| before.shown_since).unwrap_or(made);
        Some(Self {
            name: dependency.name.clone(),
            kind: dependency.kind.clone(),
            required: dependency.required,
            from,
            to: verdict.status,
            reason: verdict.reason,
            message: verdict.message.clone(),
            previous_for: at.saturating_duration_since(since),
            at,
        })
    }
}

impl Serialize for Transition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &*self.name)?;
        if let Some(kind) = &self.kind {
            map.serialize_entry("kind", kind)?;
        }
        map.serialize_entry("required", &self.required)?;
        map.serialize_entry("from", &self.from)?;
        map.serialize_entry("to", &self.to)?;
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", &reason)?;
        }
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        let after = u64::try_from(self.previous_for.as_millis()).unwrap_or(u64::MAX);
        map.serialize_entry("previous_for_ms", &after)?;
        map.end()
    }
}
