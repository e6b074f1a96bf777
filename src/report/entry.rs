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
    /// The kind, such as `postgres`.
    pub kind: Option<Cow<'static, str>>,
    /// Host and port, or another address, of what is checked. No credentials.
    pub target: Option<Arc<str>>,
    /// Whether the overall status is down if this dependency is down.
    pub required: bool,
    /// The status of the dependency.
    ///
    /// Its [`effective_status`](Self::effective_status) counts for the overall status.
    pub status: Status,
    /// The reason why it is not up.
    pub reason: Option<Reason>,
    /// The message of the check, without credentials.
    pub message: Option<Cow<'static, str>>,
    /// How long the last completed run took.
    pub duration: Option<Duration>,
    /// How long ago the last completed run started.
    pub age: Option<Duration>,
    /// How long runs have been failing without a success in between.
    pub failing_for: Option<Duration>,
    /// How long ago the last run that was up or degraded ended.
    pub last_up: Option<Duration>,
    /// Whether runs have completed, but none since the start was up or degraded.
    pub never_up: bool,
    /// The number of completed runs that failed without a success in between.
    pub consecutive_failures: u32,
    /// How long the current run has been pending, if the caller did not wait for its end.
    pub pending_for: Option<Duration>,
    /// How long the status has not changed, counted from the end of the run that changed it.
    pub status_for: Option<Duration>,
    /// The duration after which a run fails with reason `timeout`.
    pub timeout: Option<Duration>,
    /// The shortest time between two runs while it is up: the cache lifetime or the refresh period.
    pub interval: Option<Duration>,
    pub(crate) observations: Observations,
    pub(crate) history: History,
    /// How the request excluded it, if it did.
    pub(crate) excluded: Option<Excluded>,
}

/// What the request named to exclude a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Excluded {
    ByName,
    WithGroup(Cow<'static, str>),
}

impl ReportEntry {
    /// Returns the pool statistics at the end of the last run, for checks on a pool.
    pub fn pool(&self) -> Option<PoolStats> {
        self.observations.pool
    }

    /// Returns the observations of the last run.
    pub fn observations(&self) -> impl Iterator<Item = (&str, &ObservedValue)> {
        self.observations
            .values
            .iter()
            .map(|(name, value)| (&**name, value))
    }

    /// Returns the last completed runs, oldest first: at most 32.
    pub fn history(&self) -> &[CheckRun] {
        self.history.runs()
    }

    /// Returns whether the request excluded it: it was not checked, and does not count.
    pub fn is_excluded(&self) -> bool {
        self.excluded.is_some()
    }

    /// Returns what counts for the overall status: an optional dependency that is down counts as degraded.
    pub fn effective_status(&self) -> Status {
        match self.status {
            _ if self.is_excluded() => Status::Up,
            Status::Down | Status::Unknown if !self.required => Status::Degraded,
            status => status,
        }
    }

    /// Creates an entry without any result.
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

    /// Removes values that may differ between two equal results.
    pub(super) fn without_measurements(self) -> Self {
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
    /// Writes all fields except the status.
    pub(crate) fn serialize_details<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let is_serving = self.status.is_serving();
        let last_up = self.last_up.filter(|_| !is_serving);
        let never_up = self.never_up && last_up.is_none() && !is_serving;
        let failures = Some(self.consecutive_failures).filter(|count| *count > 0);
        let values = self.observations.values.iter();
        let observations = AsMap(values.map(|(name, value)| (name, value)));
        let observations = Some(observations).filter(|_| self.observations().next().is_some());
        serialize_some(map, "kind", self.kind.as_ref())?;
        map.serialize_entry("required", &self.required)?;
        serialize_some(map, "excluded", self.is_excluded().then_some(true))?;
        serialize_some(map, "reason", self.reason)?;
        serialize_some(map, "message", self.message.as_ref())?;
        serialize_some(map, "failing_for_ms", self.failing_for.map(whole_millis))?;
        serialize_some(map, "consecutive_failures", failures)?;
        serialize_some(map, "pending_for_ms", self.pending_for.map(whole_millis))?;
        serialize_some(map, "duration_ms", self.duration.map(rounded_millis))?;
        serialize_some(map, "age_ms", self.age.map(whole_millis))?;
        serialize_some(map, "pool", self.pool())?;
        serialize_some(map, "observations", observations)?;
        serialize_some(map, "last_up_ms", last_up.map(whole_millis))?;
        serialize_some(map, "never_up", never_up.then_some(true))?;
        serialize_some(map, "target", self.target.as_deref())?;
        serialize_some(map, "timeout_ms", self.timeout.map(whole_millis))?;
        serialize_some(map, "interval_ms", self.interval.map(whole_millis))
    }
}

/// Writes the key only if there is a value.
pub(crate) fn serialize_some<M: SerializeMap>(
    map: &mut M,
    key: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, &value),
        None => Ok(()),
    }
}

/// Pairs as a JSON object, in their order.
pub(crate) struct AsMap<I>(pub(crate) I);

impl<I, K, V> Serialize for AsMap<I>
where
    I: Iterator<Item = (K, V)> + Clone,
    K: Serialize,
    V: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

/// Returns full milliseconds, at most `u64::MAX`.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns milliseconds with two decimals, because checks of local servers take less than one.
pub(crate) fn rounded_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
