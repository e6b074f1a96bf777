use std::{borrow::Cow, panic::Location, time::Duration};

use super::{
    Health,
    members::MAX_DEPENDENCIES,
    warning::{ConfigWarning, Pace},
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

/// A group that the builder was told of, with its members.
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

    /// How long an asker waits before it gets an answer that says what is pending. Default: 900 ms; at most a year.
    ///
    /// Keep it under the prober's own timeout, which is 1 s for a kubelet.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit.min(MAX_DURATION);
        self
    }

    /// Runs all checks in the background each `period`, so that no asker waits. Default: off; at least 10 ms.
    ///
    /// The first phase is random and each period lengthened by up to a tenth, so that a
    /// fleet does not beat in step. What has been failing for long is
    /// [left alone](Dependency::back_off_up_to) for longer. A verdict older than period and timeout, doubled, is
    /// down with reason `stale`: a refresher that is dead cannot lie. The task runs on
    /// the runtime in which the handle is built, or else first asked, and ends with the
    /// last clone of the handle.
    pub fn refresh_every(mut self, period: Duration) -> Self {
        self.refresh_every = Some(period.clamp(SHORTEST_REFRESH, MAX_DURATION));
        self
    }

    /// What cannot work of the settings so far; empty for the defaults. See [`Health::warnings`].
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.pace().warnings(&self.dependencies)
    }

    pub(super) fn pace(&self) -> Pace {
        Pace {
            answer_within: self.answer_within,
            refresh_every: self.refresh_every,
        }
    }

    /// The handle. Without [`refresh_every`](Self::refresh_every) it runs nothing yet: the first asker does.
    ///
    /// Settings that cannot work together are [warnings](Self::warnings), logged once each with the
    /// feature `tracing`.
    ///
    /// # Panics
    ///
    /// When a [group](Self::group) has a member that is no dependency.
    #[track_caller]
    pub fn build(mut self) -> Health {
        self.join_groups();
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
