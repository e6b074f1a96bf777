//! A dependency: a name, a check and the settings under which it runs.

use std::{borrow::Cow, error::Error, fmt, panic::Location, sync::Arc, time::Duration};

use crate::{
    bounds::MAX_DURATION,
    check::{Check, DynCheck, InProcessCheck},
    report::without_credentials,
};

/// Longer names are refused: a name stands in every detailed answer and metric.
const MAX_NAME: usize = 100;

/// Of a run, unless set otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(800);

/// Something the app needs, with all that can be set about checking it.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Dependency, Outcome};
///
/// let search = Dependency::new("search", async || Ok(Outcome::up()))
///     .optional()
///     .timeout(Duration::from_millis(300))
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
    pub(crate) required: bool,
    /// Set by `local` alone, which takes no check behind a network.
    pub(crate) liveness: bool,
    pub(crate) readiness: bool,
    pub(crate) groups: Vec<Cow<'static, str>>,
    pub(crate) settings: Settings,
}

/// The numbers that steer the runs of one dependency. No time is over [`MAX_DURATION`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) cache_for: Duration,
    pub(crate) cache_failures_for: Option<Duration>,
    pub(crate) back_off_up_to: Option<Duration>,
    pub(crate) failure_threshold: u32,
    pub(crate) success_threshold: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            cache_for: Duration::from_secs(1),
            cache_failures_for: None,
            back_off_up_to: None,
            failure_threshold: 1,
            success_threshold: 1,
        }
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
                required: true,
                liveness: false,
                readiness: true,
                groups: Vec::new(),
                settings: Settings::default(),
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

    /// Failing degrades the whole and no more: probes still answer 200. Default: required.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// A run longer than this is down with reason `timeout`. Default: 800 ms; at most a year.
    ///
    /// Keep it below [`answer_within`](crate::HealthBuilder::answer_within), so
    /// that the asker who started the run hears its end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(MAX_DURATION);
        self
    }

    /// How long a verdict serves, from the start of its run. Default: 1 s; at most a year.
    ///
    /// Lengthened by up to a tenth at random, so that a fleet does not beat in
    /// step. However many probers ask, the dependency sees at most one run in
    /// this time from this handle. A [background refresh](crate::HealthBuilder::refresh_every) has
    /// its own period instead.
    pub fn cache_for(mut self, period: Duration) -> Self {
        self.settings.cache_for = period.min(MAX_DURATION);
        self
    }

    /// The same for a verdict that is down. Default: as [`cache_for`](Self::cache_for).
    pub fn cache_failures_for(mut self, period: Duration) -> Self {
        self.settings.cache_failures_for = Some(period.min(MAX_DURATION));
        self
    }

    /// How long the verdict of a dependency that has been dead for long serves at most. Default: twice
    /// the period of a failure, which is 2 s; at most a year.
    ///
    /// From a certain length of an outage on a verdict serves for a sixtieth of it, so that nobody
    /// hammers what is dead while its return shows within a sixtieth of its absence. By default
    /// that begins after a minute, and ends after two at the bound. The first success ends it. A bound
    /// not above the period of a failure, such as zero, turns it off.
    pub fn back_off_up_to(mut self, longest: Duration) -> Self {
        self.settings.back_off_up_to = Some(longest.min(MAX_DURATION));
        self
    }

    /// How many completed runs in a row must fail before it shows as down. Default: 1.
    pub fn failure_threshold(mut self, runs: u32) -> Self {
        self.settings.failure_threshold = runs.max(1);
        self
    }

    /// How many completed runs in a row must succeed before it shows as up. Default: 1.
    pub fn success_threshold(mut self, runs: u32) -> Self {
        self.settings.success_threshold = runs.max(1);
        self
    }

    /// Makes it a member of the group `name`, which a probe of its own can answer for.
    pub fn group(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Readiness does not look at it; the full probe and its groups do. Default: it does.
    pub fn exclude_from_readiness(mut self) -> Self {
        self.readiness = false;
        self
    }

    /// The word for what it is, shown with details. Default: the check's own.
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("required", &self.required)
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
