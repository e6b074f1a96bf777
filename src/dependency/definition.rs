//! [`Dependency`]: a name, a check and its settings.

use std::{borrow::Cow, error::Error, fmt, panic::Location, sync::Arc, time::Duration};

use super::settings::{Requirement, RunSettings};
use crate::{
    bounds::MAX_DURATION,
    check::{Check, DynCheck, InProcessCheck},
    probe::Probe,
    report::without_credentials,
};

/// The maximum length of a name, which appears in every detailed response and in metrics.
const MAX_NAME: usize = 100;

/// A dependency of the app: a name, a check and the settings of its runs.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Dependency, Outcome};
///
/// let search = Dependency::new("search", async || Ok(Outcome::up()))
///     .optional()
///     .timeout(Duration::from_millis(300))
///     .slow_after(Duration::from_millis(100))
///     .cache_for(Duration::from_secs(5))
///     .failure_threshold(3);
/// # drop(search);
/// ```
#[derive(Clone)]
#[must_use = "a dependency does nothing until it is added to a builder"]
pub struct Dependency {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Option<Cow<'static, str>>,
    pub(crate) target: Option<Arc<str>>,
    pub(crate) check: Arc<dyn DynCheck>,
    /// The calls of `optional` and `required_until_started`, in order. None: required.
    pub(super) requirements: Vec<Requirement>,
    /// The calls of `required_for` and `optional_for`, in order.
    pub(super) exceptions: Vec<(Probe, Requirement)>,
    /// Set only by `in_process`, which accepts no check behind a network.
    pub(crate) liveness: bool,
    pub(crate) readiness: bool,
    pub(crate) groups: Vec<Cow<'static, str>>,
    pub(crate) settings: RunSettings,
}

impl Dependency {
    /// Creates a required dependency with default settings.
    ///
    /// The name is a path segment of the dependency path.
    ///
    /// # Panics
    ///
    /// If the name is empty, is longer than 100 bytes, or contains a `/` or a control character.
    #[track_caller]
    pub fn new(name: impl Into<Cow<'static, str>>, check: impl Check) -> Self {
        match Self::try_new(name, check) {
            Ok(dependency) => dependency,
            Err(invalid) => panic!("{invalid} ({})", Location::caller()),
        }
    }

    /// Creates a required dependency whose name comes from a configuration, a tenant or a plugin.
    ///
    /// # Errors
    ///
    /// If the name is one with which [`new`](Self::new) panics.
    pub fn try_new(
        name: impl Into<Cow<'static, str>>,
        check: impl Check,
    ) -> Result<Self, InvalidDependencyName> {
        let name = name.into();
        match validate_name(&name) {
            Err(fault) => Err(InvalidDependencyName { name, fault }),
            Ok(()) => Ok(Self {
                name: name.as_ref().into(),
                kind: check.kind().map(Cow::Borrowed),
                target: check.target().map(without_credentials),
                check: Arc::new(check),
                requirements: Vec::new(),
                exceptions: Vec::new(),
                liveness: false,
                readiness: true,
                groups: Vec::new(),
                settings: RunSettings::default(),
            }),
        }
    }

    /// Creates a required dependency inside this process, which liveness covers, too.
    ///
    /// The bound keeps every check behind a network out of liveness: a restart
    /// of this process would not repair a server.
    ///
    /// # Panics
    ///
    /// If the name is one with which [`new`](Self::new) panics.
    #[track_caller]
    pub fn in_process(name: impl Into<Cow<'static, str>>, check: impl InProcessCheck) -> Self {
        Self {
            liveness: true,
            ..Self::new(name, check)
        }
    }

    /// Makes the dependency optional: if it is down, the app is degraded and probes still answer 200.
    /// Default: required.
    pub fn optional(mut self) -> Self {
        self.requirements.push(Requirement::Optional);
        self
    }

    /// Makes the dependency required until the app has started, and optional afterwards. Default: required.
    ///
    /// It gates the start: readiness is 503 until startup has latched and the dependency was up or
    /// degraded once. If it is down later, the app is degraded and readiness still answers 200. So the
    /// failure of a shared dependency does not take all replicas out of rotation. This holds
    /// for each process: a replica that starts during the outage stays unready. A dependency that is
    /// [added](crate::Health::add) later is required until it was up or degraded once.
    pub fn required_until_started(mut self) -> Self {
        self.requirements.push(Requirement::RequiredUntilStarted);
        self
    }

    /// Makes the dependency required for `probe`, whatever it is for other probes.
    ///
    /// The startup probe follows readiness unless it has a separate setting.
    ///
    /// ```
    /// use tower_health::{Dependency, Outcome, Probe};
    ///
    /// // The orders service needs it, the rest of the app does not.
    /// let ledger = Dependency::new("ledger", async || Ok(Outcome::up()))
    ///     .optional()
    ///     .group("orders")
    ///     .required_for(Probe::group("orders"));
    /// # drop(ledger);
    /// ```
    ///
    /// [`HealthBuilder::build`](crate::HealthBuilder::build) panics if the probe does not cover the dependency, or
    /// if the dependency is optional for the same probe. [`Health::add`](crate::Health::add) returns an error.
    pub fn required_for(mut self, probe: Probe) -> Self {
        self.exceptions.push((probe, Requirement::Required));
        self
    }

    /// Makes the dependency optional for `probe`, whatever it is for other probes.
    ///
    /// The startup probe follows readiness unless it has a separate setting. Rejected like
    /// [`required_for`](Self::required_for).
    pub fn optional_for(mut self, probe: Probe) -> Self {
        self.exceptions.push((probe, Requirement::Optional));
        self
    }

    /// Sets the longest time of a run. Default: 800 ms; at most a year.
    ///
    /// A longer run is down with reason `timeout`. Keep the timeout below
    /// [`answer_within`](crate::HealthBuilder::answer_within), so that the caller that started the run gets its
    /// result. The build panics if it is zero.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(MAX_DURATION);
        self
    }

    /// Reports runs slower than `limit` as degraded, with reason `slow`. Default: off; at most a year.
    ///
    /// The duration of the run counts. While the dependency is up, `failure_threshold` slow runs in a row make it
    /// degraded, and `success_threshold` others in a row make it up again. While it is down, a slow run is
    /// a success. The build panics if `limit` is zero, or at least [`timeout`](Self::timeout).
    pub fn slow_after(mut self, limit: Duration) -> Self {
        self.settings.slow_after = Some(limit.min(MAX_DURATION));
        self
    }

    /// Sets how long a result is cached, from the start of its run. Default: 900 ms; at most a year.
    ///
    /// A jitter of up to a tenth is added, so that the replicas of an app do not check at the same
    /// moment. Within this time at most one run starts from this handle, whatever the number of callers. With a
    /// [background refresh](crate::HealthBuilder::refresh_every), the longer of both periods counts if this one is
    /// set. Zero disables the cache.
    pub fn cache_for(mut self, period: Duration) -> Self {
        self.settings.cache_for = Some(period.min(MAX_DURATION));
        self
    }

    /// Sets how long a failure is cached. Default: [`cache_for`](Self::cache_for); at most a year.
    pub fn cache_failures_for(mut self, period: Duration) -> Self {
        self.settings.cache_failures_for = Some(period.min(MAX_DURATION));
        self
    }

    /// Sets how many completed runs in a row must fail before the status is down.
    /// Default: 1; 0 counts as 1.
    pub fn failure_threshold(mut self, runs: u32) -> Self {
        self.settings.failure_threshold = runs.max(1);
        self
    }

    /// Sets how many completed runs in a row must succeed before the status is up.
    /// Default: 1; 0 counts as 1.
    ///
    /// A dependency that is up or degraded follows each success at once, except at the end of `slow`.
    pub fn success_threshold(mut self, runs: u32) -> Self {
        self.settings.success_threshold = runs.max(1);
        self
    }

    /// Adds the dependency to the group `name`, which has its own [probe](Probe::Group). Default: no group.
    pub fn group(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Excludes the dependency from readiness and startup; the full probe and its groups still cover it.
    /// Default: included.
    pub fn exclude_from_readiness(mut self) -> Self {
        self.readiness = false;
        self
    }

    /// Sets the kind that callers with details see, as in `postgres`. Default: the kind of the check.
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Sets the host and port that callers with details see. Default: the target of the check.
    ///
    /// The checks on pools have none. Known forms of credentials are masked; longer text is cut at 256 bytes.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(without_credentials(target.into()));
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("requirement", &self.requirement(&Probe::Full))
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// An invalid name of a dependency. Displays as one line that contains the escaped name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDependencyName {
    name: Cow<'static, str>,
    fault: &'static str,
}

impl fmt::Display for InvalidDependencyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dependency name {:?} {}", self.name, self.fault)
    }
}

impl Error for InvalidDependencyName {}

/// Returns the fault of `name`, as the end of a sentence.
fn validate_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > MAX_NAME {
        return Err("is longer than 100 bytes");
    }
    if name.contains('/') {
        return Err("contains a slash, which separates path segments");
    }
    if name.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::validate_name;

    #[test]
    fn a_name_is_one_path_segment() {
        let long = "x".repeat(101);
        let table = [
            ("database", true),
            ("database.default", true),
            ("büro", true),
            ("", false),
            ("a/b", false),
            ("a\nb", false),
            ("a\u{7f}", false),
            (long.as_str(), false),
        ];
        for (name, valid) in table {
            assert_eq!(validate_name(name).is_ok(), valid, "{name:?}");
        }
    }
}
