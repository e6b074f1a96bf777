use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{CheckRun, History, Observations, ObservedValue, PoolStats, Reason, Status};

/// The state of one dependency in a report.
///
/// It serializes with all details: send it only to callers who may see them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportEntry {
    /// The name, unique within the handle.
    pub name: Arc<str>,
    /// The kind, as in `postgres`.
    pub kind: Option<Cow<'static, str>>,
    /// Host and port, or another place, of what is checked. No credentials.
    pub target: Option<Arc<str>>,
    /// Whether the overall status is down if it is down.
    pub required: bool,
    /// Its own status; see [`effective_status`](Self::effective_status) for its part in the overall one.
    pub status: Status,
    /// The reason why it is not up.
    pub reason: Option<Reason>,
    /// The message of the check, without credentials.
    pub message: Option<Cow<'static, str>>,
    /// How long the last completed run took.
    pub duration: Option<Duration>,
    /// How long ago the last completed run started.
    pub age: Option<Duration>,
    /// How long runs have been failing without a success between.
    pub failing_for: Option<Duration>,
    /// How long ago the last run ended that was up or degraded.
    pub last_up: Option<Duration>,
    /// Whether runs have completed, and none since the start was up or degraded.
    pub never_up: bool,
    /// Completed runs that failed without a success between.
    pub consecutive_failures: u32,
    /// How long the current run has been pending, if the caller did not wait for its end.
    pub pending_for: Option<Duration>,
    /// How long its status has been what it is, counted from the end of the run that changed it.
    pub status_for: Option<Duration>,
    /// After which time a run fails with reason `timeout`.
    pub timeout: Option<Duration>,
    /// The shortest time between two runs while it is up: the cache lifetime or the refresh period.
    pub interval: Option<Duration>,
    pub(crate) observations: Observations,
    pub(crate) history: History,
    /// How the request excluded it.
    pub(crate) excluded: Option<Excluded>,
}

/// What of a dependency the request named to exclude it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Excluded {
    ByName,
    WithGroup(Cow<'static, str>),
}

impl ReportEntry {
    /// The pool statistics at the end of the last run, for checks on a pool.
    pub fn pool(&self) -> Option<PoolStats> {
        self.observations.pool
    }

    /// The observations of the last run.
    pub fn observations(&self) -> impl Iterator<Item = (&str, &ObservedValue)> {
        self.observations
            .values
            .iter()
            .map(|(name, value)| (&**name, value))
    }

    /// The last completed runs, oldest first: at most 32.
    pub fn history(&self) -> &[CheckRun] {
        self.history.runs()
    }

    /// Whether the request excluded it: it was not checked, and does not count.
    pub fn is_excluded(&self) -> bool {
        self.excluded.is_some()
    }

    /// Its part in the overall status: an optional dependency that is down counts as degraded.
    pub fn effective_status(&self) -> Status {
        match self.status {
            _ if self.is_excluded() => Status::Up,
            Status::Down | Status::Unknown if !self.required => Status::Degraded,
            status => status,
        }
    }

    /// An entry without any result.
    pub(crate) fn new(name: Arc<str>, required: bool, status: Status) -> Self {
        Self {
            name,
            kind: None,
            target: None,
            required,
            status,
            reason: None,
            message: None,
            duration: None,
            age: None,
            failing_for: None,
            last_up: None,
            never_up: false,
            consecutive_failures: 0,
            pending_for: None,
            status_for: None,
            timeout: None,
            interval: None,
            observations: Observations::default(),
            history: History::default(),
            excluded: None,
        }
    }

    /// The same without values that may differ between two equal results.
    pub(super) fn stable(self) -> Self {
        Self {
            kind: self.kind,
            target: self.target,
            reason: self.reason,
            excluded: self.excluded,
            ..Self::new(self.name, self.required, self.status)
        }
    }
}

impl Serialize for ReportEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.status)?;
        self.serialize_details(&mut map)?;
        map.end()
    }
}

impl ReportEntry {
    /// All but the status.
    pub(crate) fn serialize_details<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if let Some(kind) = &self.kind {
            map.serialize_entry("kind", kind)?;
        }
        map.serialize_entry("required", &self.required)?;
        if self.is_excluded() {
            map.serialize_entry("excluded", &true)?;
        }
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", &reason)?;
        }
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        if let Some(failing_for) = self.failing_for {
            map.serialize_entry("failing_for_ms", &whole_millis(failing_for))?;
        }
        if self.consecutive_failures > 0 {
            map.serialize_entry("consecutive_failures", &self.consecutive_failures)?;
        }
        if let Some(pending_for) = self.pending_for {
            map.serialize_entry("pending_for_ms", &whole_millis(pending_for))?;
        }
        if let Some(duration) = self.duration {
            map.serialize_entry("duration_ms", &rounded_millis(duration))?;
        }
        if let Some(age) = self.age {
            map.serialize_entry("age_ms", &whole_millis(age))?;
        }
        if let Some(pool) = self.observations.pool {
            map.serialize_entry("pool", &pool)?;
        }
        if !self.observations.values.is_empty() {
            map.serialize_entry("observations", &AsMap(&self.observations.values))?;
        }
        if !self.status.is_serving() {
            match self.last_up {
                Some(last_up) => map.serialize_entry("last_up_ms", &whole_millis(last_up))?,
                None if self.never_up => map.serialize_entry("never_up", &true)?,
                None => {}
            }
        }
        if let Some(target) = &self.target {
            map.serialize_entry("target", &**target)?;
        }
        if let Some(timeout) = self.timeout {
            map.serialize_entry("timeout_ms", &whole_millis(timeout))?;
        }
        if let Some(interval) = self.interval {
            map.serialize_entry("interval_ms", &whole_millis(interval))?;
        }
        Ok(())
    }
}

/// Pairs as a JSON object, in their order.
struct AsMap<'a>(&'a [(Cow<'static, str>, ObservedValue)]);

impl Serialize for AsMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Milliseconds, at most the largest number.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds with two decimals: a check of a local server takes a fraction of one.
pub(crate) fn rounded_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
