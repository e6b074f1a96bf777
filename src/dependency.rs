//! A dependency: a name, a check and the settings under which it runs.

use std::{borrow::Cow, error::Error, fmt, panic::Location, sync::Arc, time::Duration};

use crate::{
    bounds::MAX_DURATION,
    check::{Check, DynCheck, InProcessCheck},
    probe::Probe,
    report::without_credentials,
};

/// Longer names are refused: a name stands in every detailed answer and metric.
const MAX_NAME: usize = 100;

/// Of a run, unless set otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(800);

/// Of a result, unless set otherwise. Below the period of a prober that asks each second: with 1 s it would
/// get every other time what it got before.
const DEFAULT_LIFETIME: Duration = Duration::from_millis(900);

/// Something the app needs, with all that can be set about checking it.
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
    /// As set, in order; required if nothing is.
    requirements: Vec<Requirement>,
    /// As set for one probe, in order.
    exceptions: Vec<(Probe, bool)>,
    /// Set by `in_process` alone, which takes no check behind a network.
    pub(crate) liveness: bool,
    pub(crate) readiness: bool,
    pub(crate) groups: Vec<Cow<'static, str>>,
    pub(crate) settings: RunSettings,
}

/// Whether a probe fails with the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    Required,
    Optional,
    RequiredUntilStarted,
}

/// The numbers that steer the runs of one dependency. No time is over [`MAX_DURATION`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunSettings {
    pub(crate) timeout: Duration,
    pub(crate) cache_for: Option<Duration>,
    pub(crate) cache_failures_for: Option<Duration>,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) failure_threshold: u32,
    pub(crate) success_threshold: u32,
    /// The handle's, once the dependency belongs to one.
    pub(crate) refresh_every: Option<Duration>,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            cache_for: None,
            cache_failures_for: None,
            slow_after: None,
            failure_threshold: 1,
            success_threshold: 1,
            refresh_every: None,
        }
    }
}

impl RunSettings {
    /// How long a result is cached, before jitter.
    pub(crate) fn lifetime(&self, failed: bool) -> Duration {
        self.set_lifetime(failed).unwrap_or(DEFAULT_LIFETIME)
    }

    /// The time between two runs at least: the background period, or the lifetime of a good result.
    pub(crate) fn interval(&self) -> Duration {
        match self.refresh_every {
            Some(period) => period.max(self.set_lifetime(false).unwrap_or_default()),
            None => self.lifetime(false),
        }
    }

    /// Whether that was set.
    pub(crate) fn has_lifetime(&self, failed: bool) -> bool {
        self.set_lifetime(failed).is_some()
    }

    fn set_lifetime(&self, failed: bool) -> Option<Duration> {
        let own = self.cache_failures_for.filter(|_| failed);
        own.or(self.cache_for)
    }

    /// Time between two runs at least, before jitter.
    pub(crate) fn period(&self, failed: bool) -> Duration {
        let refresh = self.refresh_every;
        let lifetime = self.set_lifetime(failed);
        refresh.max(lifetime).unwrap_or(DEFAULT_LIFETIME)
    }
}

impl Dependency {
    /// A required dependency called `name`, with default settings.
    ///
    /// # Panics
    ///
    /// When the name is empty, longer than 100 bytes, or has a `/` or a control
    /// character: it is a path segment of the single-dependency answer.
    #[track_caller]
    pub fn new(name: impl Into<Cow<'static, str>>, check: impl Check) -> Self {
        match Self::try_new(name, check) {
            Ok(dependency) => dependency,
            Err(InvalidDependencyName { name, fault }) => refuse(&name, fault),
        }
    }

    /// The same for a name that comes from elsewhere: a configuration, a tenant, a plugin.
    ///
    /// # Errors
    ///
    /// Where [`new`](Self::new) panics.
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

    /// The same for something in this process, which liveness looks at, too.
    ///
    /// The bound keeps everything behind a network out of liveness: a restart
    /// of this process would not mend it.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
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
    /// degraded once. If it is down later, the app is degraded and readiness still answers 200, so that the
    /// failure of a shared dependency does not take all replicas out of rotation. This holds
    /// for each process: a replica that starts during the outage stays unready. One that is
    /// [added](crate::Health::add) later is required until it was up or degraded once.
    pub fn required_until_started(mut self) -> Self {
        self.requirements.push(Requirement::RequiredUntilStarted);
        self
    }

    /// Makes the dependency required for `probe`, whatever it is for other probes.
    ///
    /// The startup probe follows readiness unless it has a setting of its own.
    ///
    /// ```
    /// use tower_health::{Dependency, Outcome, Probe};
    ///
    /// // Without it the orders service cannot work, and the rest of the app can.
    /// let ledger = Dependency::new("ledger", async || Ok(Outcome::up()))
    ///     .optional()
    ///     .group("orders")
    ///     .required_for(Probe::group("orders"));
    /// # drop(ledger);
    /// ```
    ///
    /// The build panics if the probe does not look at the dependency, or if it is optional for
    /// the same probe; [`Health::add`](crate::Health::add) returns an error.
    pub fn required_for(mut self, probe: Probe) -> Self {
        self.exceptions.push((probe, true));
        self
    }

    /// Makes the dependency optional for `probe`, whatever it is for other probes.
    ///
    /// The startup probe follows readiness unless it has a setting of its own. Refused as
    /// [`required_for`](Self::required_for) is.
    pub fn optional_for(mut self, probe: Probe) -> Self {
        self.exceptions.push((probe, false));
        self
    }

    /// Sets the longest time of a run; a longer one is down with reason `timeout`. Default: 800 ms; at most a year.
    ///
    /// Keep it below [`answer_within`](crate::HealthBuilder::answer_within), so that the caller who started the
    /// run gets its result. The build panics if it is zero.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(MAX_DURATION);
        self
    }

    /// Reports answers slower than `limit` as degraded, with reason `slow`. Default: off; at most a year.
    ///
    /// The time of the whole run counts. While the dependency is up, `failure_threshold` slow runs in a row make it
    /// degraded, and `success_threshold` others in a row make it up again. While it is down, a slow run is
    /// a success. The build panics if `limit` is zero, or at least [`timeout`](Self::timeout).
    pub fn slow_after(mut self, limit: Duration) -> Self {
        self.settings.slow_after = Some(limit.min(MAX_DURATION));
        self
    }

    /// Sets how long a result is cached, from the start of its run. Default: 900 ms; at most a year.
    ///
    /// Lengthened by up to a tenth at random, so that the replicas of an app do not check at the same
    /// moment. However many callers there are, at most one run starts in this time from this handle. With a
    /// [background refresh](crate::HealthBuilder::refresh_every) the longer of both periods counts if this one is
    /// set. Zero turns the cache off.
    pub fn cache_for(mut self, period: Duration) -> Self {
        self.settings.cache_for = Some(period.min(MAX_DURATION));
        self
    }

    /// Sets how long a failure is cached. Default: as [`cache_for`](Self::cache_for).
    pub fn cache_failures_for(mut self, period: Duration) -> Self {
        self.settings.cache_failures_for = Some(period.min(MAX_DURATION));
        self
    }

    /// Sets how many completed runs in a row must fail before the status is down. Default: 1.
    pub fn failure_threshold(mut self, runs: u32) -> Self {
        self.settings.failure_threshold = runs.max(1);
        self
    }

    /// Sets how many completed runs in a row must succeed before the status is up. Default: 1.
    pub fn success_threshold(mut self, runs: u32) -> Self {
        self.settings.success_threshold = runs.max(1);
        self
    }

    /// Adds the dependency to the group `name`, which a [probe](Probe::Group) of its own can answer for.
    pub fn group(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Excludes the dependency from readiness and startup; the full probe and its groups still look at it.
    /// Default: included.
    pub fn exclude_from_readiness(mut self) -> Self {
        self.readiness = false;
        self
    }

    /// Sets the word for what it is, shown with details. Default: the check's own.
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Sets the host and port that callers with details see. Default: the check's own, which those on pools
    /// do not know.
    ///
    /// Known forms of credentials are masked; longer text is cut at 256 bytes.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(without_credentials(target.into()));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `probe` fails with it. Startup follows readiness.
    pub(crate) fn requirement(&self, probe: &Probe) -> Requirement {
        let exception = |probe: &Probe| {
            let mut all = self.exceptions.iter();
            all.find(|(other, _)| other == probe).map(|(_, is)| *is)
        };
        let exception = exception(probe).or_else(|| match probe {
            Probe::Startup => exception(&Probe::Readiness),
            _ => None,
        });
        match exception {
            Some(true) => Requirement::Required,
            Some(false) => Requirement::Optional,
            None => self
                .requirements
                .last()
                .copied()
                .unwrap_or(Requirement::Required),
        }
    }

    /// Whether it was made optional for exactly `probe`.
    #[cfg(feature = "grpc")]
    pub(crate) fn is_optional_for(&self, probe: &Probe) -> bool {
        self.exceptions
            .iter()
            .any(|(other, is)| other == probe && !is)
    }

    /// Whether `probe` looks at it.
    pub(crate) fn is_covered_by(&self, probe: &Probe) -> bool {
        match probe {
            Probe::Liveness => self.liveness,
            Probe::Readiness => self.readiness,
            Probe::Startup => self.readiness && self.requirement(probe) != Requirement::Optional,
            Probe::Full => true,
            Probe::Group(group) => self.groups.iter().any(|name| name == group),
        }
    }

    /// What is wrong with the settings, as one line.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self.fault() {
            Some(fault) => Err(format!("dependency {:?}: {fault}", self.name)),
            None => Ok(()),
        }
    }

    fn fault(&self) -> Option<String> {
        let settings = &self.settings;
        if settings.timeout.is_zero() {
            return Some("timeout must not be zero".into());
        }
        if let Some(limit) = settings.slow_after {
            if limit.is_zero() {
                return Some("slow_after must not be zero".into());
            }
            if limit >= settings.timeout {
                return Some(format!(
                    "slow_after ({} ms) must be shorter than timeout ({} ms)",
                    limit.as_millis(),
                    settings.timeout.as_millis()
                ));
            }
        }
        if self.requirements.windows(2).any(|two| two[0] != two[1]) {
            return Some("optional and required_until_started contradict each other".into());
        }
        for (number, (probe, is_required)) in self.exceptions.iter().enumerate() {
            let earlier = &self.exceptions[..number];
            if earlier
                .iter()
                .any(|(other, is)| other == probe && is != is_required)
            {
                return Some(format!(
                    "required_for and optional_for {probe} contradict each other"
                ));
            }
            let is_covered = match probe {
                // An optional one is outside startup, and this is what says so.
                Probe::Startup => self.readiness,
                probe => self.is_covered_by(probe),
            };
            if !is_covered {
                return Some(format!(
                    "has a requirement for {probe}, which does not look at it"
                ));
            }
        }
        if self
            .requirements
            .contains(&Requirement::RequiredUntilStarted)
            && self.requirement(&Probe::Startup) == Requirement::Optional
        {
            return Some("required_until_started and optional_for contradict each other".into());
        }
        if self
            .requirements
            .contains(&Requirement::RequiredUntilStarted)
            && !self.readiness
        {
            return Some(
                "required_until_started and exclude_from_readiness contradict each other".into(),
            );
        }
        None
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

/// A name that no dependency can have. Displays as one line that holds the name, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDependencyName {
    name: Cow<'static, str>,
    fault: &'static str,
}

impl fmt::Display for InvalidDependencyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the dependency name {:?} {}", self.name, self.fault)
    }
}

impl Error for InvalidDependencyName {}

/// What is wrong with `name`, as the end of a sentence.
pub(crate) fn validate_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > MAX_NAME {
        return Err("is longer than 100 bytes");
    }
    if name.contains('/') {
        return Err("has a slash, which would end the path segment that names it");
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character");
    }
    Ok(())
}

#[track_caller]
fn refuse(name: &str, fault: &str) -> ! {
    panic!("dependency name {name:?} {fault} ({})", Location::caller())
}

#[cfg(test)]
mod tests {
    use super::validate_name;

    #[test]
    fn names_are_path_segments() {
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
