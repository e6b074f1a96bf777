use std::{borrow::Cow, panic::Location, time::Duration};

use super::{
    Health,
    registry::MAX_DEPENDENCIES,
    warning::{ConfigWarning, TimingSettings},
};
use crate::{
    bounds::{MAX_DURATION, SHORTEST_REFRESH},
    check::{Check, InProcessCheck},
    dependency::Dependency,
};

/// Keys of the native answer that no field of the app may take.
const RESERVED: [&str; 4] = ["status", "reason", "message", "checks"];

/// Collects what a [`Health`] checks.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct HealthBuilder {
    pub(super) dependencies: Vec<Dependency>,
    /// Declared here, and not with a dependency: name, members, where.
    pub(super) groups: Vec<Group>,
    pub(super) info: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(super) answer_within: Duration,
    pub(super) refresh_every: Option<Duration>,
    #[cfg(feature = "grpc")]
    pub(super) services: super::services::Services,
}

/// A group given to the builder, with its members.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Cow<'static, str>,
    members: Vec<Cow<'static, str>>,
    declared: &'static Location<'static>,
}

impl HealthBuilder {
    pub(super) fn new() -> Self {
        Self {
            dependencies: Vec::new(),
            groups: Vec::new(),
            info: Vec::new(),
            answer_within: Duration::from_millis(900),
            refresh_every: None,
            #[cfg(feature = "grpc")]
            services: super::services::Services::default(),
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

    /// Adds an optional dependency with default settings: if it is down, the app is degraded and probes
    /// still answer 200.
    ///
    /// # Panics
    ///
    /// On a malformed name, see [`Dependency::new`], and as [`add`](Self::add).
    #[track_caller]
    pub fn check_optional(self, name: impl Into<Cow<'static, str>>, check: impl Check) -> Self {
        self.add(Dependency::new(name, check).optional())
    }

    /// Adds a check of something in this process, which liveness looks at, too.
    ///
    /// # Panics
    ///
    /// On a malformed name, see [`Dependency::new`], and as [`add`](Self::add).
    #[track_caller]
    pub fn liveness_check(
        self,
        name: impl Into<Cow<'static, str>>,
        check: impl InProcessCheck,
    ) -> Self {
        self.add(Dependency::in_process(name, check))
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

    /// Declares the group `name`, which a [probe](crate::Probe::Group) of its own answers for, and makes
    /// dependencies its members, whether they were added already or not.
    ///
    /// Those that name it themselves, by [`Dependency::group`], are members, too. A declared one without
    /// members is up; [`Health::add`] may bring it some.
    ///
    /// ```
    /// use tower_health::{Health, HealthLayer, Outcome, Probe};
    ///
    /// let health = Health::builder()
    ///     .check("orders", async || Ok(Outcome::up()))
    ///     .check("search", async || Ok(Outcome::up()))
    ///     .group("storage", ["orders"])
    ///     .build();
    /// let layer = HealthLayer::new(health).path("/storagez", Probe::group("storage"));
    /// # drop(layer);
    /// ```
    ///
    /// # Panics
    ///
    /// In [`build`](Self::build), when there is no dependency of a member's name by then.
    #[track_caller]
    pub fn group<M: Into<Cow<'static, str>>>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        members: impl IntoIterator<Item = M>,
    ) -> Self {
        self.groups.push(Group {
            name: name.into(),
            members: members.into_iter().map(Into::into).collect(),
            declared: Location::caller(),
        });
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

    /// Sets how long a caller waits before it gets an answer that says what is pending. Default: 900 ms; at most a year.
    ///
    /// Keep it under the prober's own timeout, which is 1 s for a kubelet. The build panics if it is zero.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit.min(MAX_DURATION);
        self
    }

    /// Runs all checks in the background each `period`, so that no caller waits. Default: off; at least 10 ms.
    ///
    /// The first phase is random and each period lengthened by up to a tenth, so that the replicas of an app do
    /// not check at the same moment. For a dependency with a [`cache_for`](Dependency::cache_for) of its own the
    /// longer of both periods counts. A result older than period and timeout, doubled, is
    /// down with reason `stale`. The task runs on the runtime in which the handle is built, or else on that of
    /// the first caller, and on that of the next caller once its own is no longer driven. It ends with the last
    /// clone of the handle. The build panics if `period` is zero.
    pub fn refresh_every(mut self, period: Duration) -> Self {
        self.refresh_every = Some(period.min(MAX_DURATION));
        self
    }

    /// Returns the settings so far that cannot work together; empty for the defaults. See [`Health::warnings`].
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.timing().warnings(&self.dependencies)
    }

    pub(super) fn timing(&self) -> TimingSettings {
        TimingSettings {
            answer_within: self.answer_within,
            refresh_every: self.refresh_every,
        }
    }

    /// Builds the handle. Without [`refresh_every`](Self::refresh_every) it runs nothing yet: the first caller does.
    ///
    /// Settings that hardly work together are [warnings](Self::warnings), logged once each with the
    /// feature `tracing`.
    ///
    /// # Panics
    ///
    /// - If a [group](Self::group) has a member that is no dependency.
    /// - If a duration is zero: [`answer_within`](Self::answer_within), [`refresh_every`](Self::refresh_every),
    ///   [`timeout`](Dependency::timeout), [`slow_after`](Dependency::slow_after).
    /// - If `slow_after` is not shorter than `timeout`.
    /// - If requirements contradict each other, or name a probe that does not look at the dependency.
    #[track_caller]
    pub fn build(mut self) -> Health {
        self.join_groups();
        assert!(
            !self.answer_within.is_zero(),
            "answer_within must not be zero"
        );
        if let Some(period) = &mut self.refresh_every {
            assert!(!period.is_zero(), "refresh_every must not be zero");
            *period = (*period).max(SHORTEST_REFRESH);
        }
        for dependency in &self.dependencies {
            if let Err(fault) = dependency.validate() {
                panic!("{fault}");
            }
        }
        Health::from_builder(self)
    }

    #[track_caller]
    fn join_groups(&mut self) {
        for Group {
            name,
            members,
            declared,
        } in &self.groups
        {
            for member in members {
                let found = self
                    .dependencies
                    .iter_mut()
                    .find(|dependency| dependency.name() == member);
                let Some(dependency) = found else {
                    panic!(
                        "the group {name:?} has the member {member:?}, and there is no dependency of that name ({declared})"
                    );
                };
                if !dependency.groups.contains(name) {
                    dependency.groups.push(name.clone());
                }
            }
        }
    }
}

impl Default for HealthBuilder {
    fn default() -> Self {
        Self::new()
    }
}
