use std::{borrow::Cow, time::Duration};

use super::{Health, members::MAX_DEPENDENCIES};
use crate::{
    bounds::{LONGEST, SHORTEST_REFRESH},
    check::{Check, LocalCheck},
    dependency::Dependency,
};

/// Keys of the native answer that no field of the app may take.
const RESERVED: [&str; 4] = ["status", "reason", "message", "checks"];

/// Collects what a [`Health`] checks.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct HealthBuilder {
    pub(super) dependencies: Vec<Dependency>,
    pub(super) info: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(super) answer_within: Duration,
    pub(super) refresh_every: Option<Duration>,
}

impl HealthBuilder {
    pub(super) fn new() -> Self {
        Self {
            dependencies: Vec::new(),
            info: Vec::new(),
            answer_within: Duration::from_millis(900),
            refresh_every: None,
        }
    }

    /// Adds a required dependency with default settings.
    ///
    /// # Panics
    ///
    /// On a malformed name, see [`Dependency::new`], and as [`add`](Self::add).
    #[track_caller]
    pub fn check(self, name: impl Into<Cow<'static, str>>, check: impl Check) -> Self {
        self.add(Dependency::new(name, check))
    }

    /// Adds a check of something in this process, which liveness looks at, too.
    ///
    /// # Panics
    ///
    /// On a malformed name, see [`Dependency::new`], and as [`add`](Self::add).
    #[track_caller]
    pub fn liveness(self, name: impl Into<Cow<'static, str>>, check: impl LocalCheck) -> Self {
        self.add(Dependency::local(name, check))
    }

    /// Adds a dependency.
    ///
    /// # Panics
    ///
    /// When there is one of this name already, or a thousand of any name.
    // The contract's name; nobody adds builders to dependencies with a plus.
    #[allow(clippy::should_implement_trait)]
    #[track_caller]
    pub fn add(mut self, dependency: Dependency) -> Self {
        let name = dependency.name();
        assert!(
            self.dependencies.iter().all(|other| other.name() != name),
            "there is a dependency named {name:?} already"
        );
        assert!(
            self.dependencies.len() < MAX_DEPENDENCIES,
            "more than {MAX_DEPENDENCIES} dependencies"
        );
        self.dependencies.push(dependency);
        self
    }

    /// Adds a field of the app, as in `version`, shown to those allowed details.
    ///
    /// # Panics
    ///
    /// When the field exists already or is one of the answer's own: `status`, `reason`, `message`,
    /// `checks`.
    #[track_caller]
    pub fn info(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let name = name.into();
        assert!(
            !RESERVED.contains(&&*name) && self.info.iter().all(|(other, _)| *other != name),
            "the field {name:?} is taken already"
        );
        self.info.push((name, value.into()));
        self
    }

    /// How long an asker waits before it gets an answer that says what is pending. Default: 900 ms; at most a year.
    ///
    /// Keep it under the prober's own timeout, which is 1 s for a kubelet.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit.min(LONGEST);
        self
    }

    /// Runs all checks in the background each `period`, so that no asker waits. Default: off; at least 10 ms.
    ///
    /// The first phase is random and each period lengthened by up to a tenth, so that a
    /// fleet does not beat in step. A verdict older than period and timeout, doubled, is
    /// down with reason `stale`: a refresher that is dead cannot lie. The task runs on
    /// the runtime in which the handle is built, or else first asked, and ends with the
    /// last clone of the handle.
    pub fn refresh_every(mut self, period: Duration) -> Self {
        self.refresh_every = Some(period.clamp(SHORTEST_REFRESH, LONGEST));
        self
    }

    /// The handle. Without [`refresh_every`](Self::refresh_every) it runs nothing yet: the first asker does.
    pub fn build(self) -> Health {
        Health::from_builder(self)
    }
}

impl Default for HealthBuilder {
    fn default() -> Self {
        Self::new()
    }
}
