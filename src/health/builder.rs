use std::{borrow::Cow, panic::Location, sync::Arc, time::Duration};

use super::{
    Health,
    context::HealthContext,
    handle::SharedState,
    refresh::Refresher,
    registry::{Registry, check_addition},
    state::DependencyState,
    warning::{self, ConfigWarning, TimingSettings},
};
#[cfg(feature = "grpc")]
use super::{grpc_settings::GrpcSettings, watches::Watches};
use crate::{
    access::MissingPeer,
    bounds::{MAX_DURATION, SHORTEST_REFRESH},
    check::{Check, InProcessCheck},
    dependency::Dependency,
};

/// The keys of native JSON that no info field may have.
const RESERVED_KEYS: [&str; 4] = ["status", "reason", "message", "checks"];

impl Health {
    /// Makes a builder without dependencies.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }
}

/// The builder of a [`Health`]. Made by [`Health::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct HealthBuilder {
    dependencies: Vec<Dependency>,
    groups: Vec<DeclaredGroup>,
    info: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    timing: TimingSettings,
    #[cfg(feature = "grpc")]
    pub(super) grpc: GrpcSettings,
}

#[derive(Debug)]
struct DeclaredGroup {
    name: Cow<'static, str>,
    members: Vec<Cow<'static, str>>,
    declared_at: &'static Location<'static>,
}

impl Default for HealthBuilder {
    fn default() -> Self {
        Self {
            dependencies: Vec::new(),
            groups: Vec::new(),
            info: Vec::new(),
            timing: TimingSettings {
                answer_within: Duration::from_millis(900),
                refresh_every: None,
            },
            #[cfg(feature = "grpc")]
            grpc: GrpcSettings::default(),
        }
    }
}

impl HealthBuilder {
    /// Adds a required dependency with default settings.
    ///
    /// # Panics
    ///
    /// If the name is malformed, as [`Dependency::new`], and as [`add`](Self::add).
    #[doc(alias = "critical")]
    #[track_caller]
    pub fn check(self, name: impl Into<Cow<'static, str>>, check: impl Check) -> Self {
        self.add(Dependency::new(name, check))
    }

    /// Adds an optional dependency with default settings.
    ///
    /// If it is down, the app is degraded and probes still answer 200.
    ///
    /// # Panics
    ///
    /// If the name is malformed, as [`Dependency::new`], and as [`add`](Self::add).
    #[track_caller]
    pub fn check_optional(self, name: impl Into<Cow<'static, str>>, check: impl Check) -> Self {
        self.add(Dependency::new(name, check).optional())
    }

    /// Adds a required dependency with an in-process check, which liveness covers too.
    ///
    /// A check of a server is not accepted: liveness must not restart a process because a server is down.
    ///
    /// # Panics
    ///
    /// If the name is malformed, as [`Dependency::new`], and as [`add`](Self::add).
    #[doc(alias = "liveness probe")]
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
    /// If a dependency of this name already exists, or 1,000 dependencies.
    // The plus operator makes no sense for a builder and a dependency.
    #[allow(clippy::should_implement_trait)]
    #[track_caller]
    pub fn add(mut self, dependency: Dependency) -> Self {
        if let Err(error) = check_addition(self.dependencies.iter(), &dependency) {
            panic!("{error}");
        }
        self.dependencies.push(dependency);
        self
    }

    /// Declares the group `name` with dependencies as members.
    ///
    /// The dependencies may be added before or after this call. Dependencies that name the group by
    /// [`Dependency::group`] are members too. A [probe](crate::Probe::Group) answers for the group. A declared
    /// group without members is up; [`Health::add`] may add members.
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
    /// In [`build`](Self::build), if a member is not the name of a dependency.
    #[track_caller]
    pub fn group<M: Into<Cow<'static, str>>>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        members: impl IntoIterator<Item = M>,
    ) -> Self {
        self.groups.push(DeclaredGroup {
            name: name.into(),
            members: members.into_iter().map(Into::into).collect(),
            declared_at: Location::caller(),
        });
        self
    }

    /// Adds an info field, as in `version`, which responses with details show.
    ///
    /// # Panics
    ///
    /// If the field already exists, or is `status`, `reason`, `message` or `checks`.
    #[track_caller]
    pub fn info(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let name = name.into();
        assert!(
            !RESERVED_KEYS.contains(&&*name) && self.info.iter().all(|(other, _)| *other != name),
            "info field {name:?} already exists or is reserved"
        );
        self.info.push((name, value.into()));
        self
    }

    /// Sets how long a caller waits before it gets an answer that reports pending runs. Default: 900 ms.
    ///
    /// Keep it below the timeout of the prober, which is 1 s for a kubelet. The maximum is a year; the build
    /// panics if it is zero.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.timing.answer_within = limit.min(MAX_DURATION);
        self
    }

    /// Runs all checks in the background every `period`, so that no caller waits. Default: off.
    ///
    /// The first phase is random, and each period is lengthened by up to 10 %. Therefore the replicas of an app do
    /// not check at the same moment. If a dependency sets [`cache_for`](Dependency::cache_for), the longer of both periods
    /// counts. A result older than the sum of period and timeout, doubled, is down with reason `stale`.
    ///
    /// The task runs on the runtime of the build, or else of the first caller. If that runtime is no longer
    /// driven, the task moves to the runtime of the next caller. It ends with the last clone of the handle. The
    /// minimum is 10 ms; the build panics if `period` is zero.
    pub fn refresh_every(mut self, period: Duration) -> Self {
        self.timing.refresh_every = Some(period.min(MAX_DURATION));
        self
    }

    /// Returns the settings so far that cannot work together, as [`Health::warnings`] does.
    ///
    /// Empty for the defaults.
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.timing.warnings(&self.dependencies)
    }

    /// Builds the handle.
    ///
    /// Without [`refresh_every`](Self::refresh_every) no run starts here: the first caller starts the first runs.
    /// Settings that cannot work together are [warnings](Self::warnings). With the feature `tracing` each is
    /// logged once.
    ///
    /// # Panics
    ///
    /// - If a [group](Self::group) has a member that is not the name of a dependency.
    /// - If a duration is zero: [`answer_within`](Self::answer_within), [`refresh_every`](Self::refresh_every),
    ///   [`timeout`](Dependency::timeout), [`slow_after`](Dependency::slow_after).
    /// - If `slow_after` is not shorter than `timeout`.
    /// - If requirements contradict each other, or name a probe that does not cover the dependency.
    #[track_caller]
    pub fn build(mut self) -> Health {
        self.add_members();
        assert!(
            !self.timing.answer_within.is_zero(),
            "answer_within must not be zero"
        );
        if let Some(period) = &mut self.timing.refresh_every {
            assert!(!period.is_zero(), "refresh_every must not be zero");
            *period = (*period).max(SHORTEST_REFRESH);
        }
        for dependency in &self.dependencies {
            if let Err(fault) = dependency.validate() {
                panic!("{fault}");
            }
        }
        self.into_health()
    }

    /// Adds each declared group to its members.
    #[track_caller]
    fn add_members(&mut self) {
        for group in &self.groups {
            let (name, declared_at) = (&group.name, group.declared_at);
            for member in &group.members {
                let mut dependencies = self.dependencies.iter_mut();
                let Some(dependency) = dependencies.find(|other| other.name() == member) else {
                    panic!("group {name:?}: no dependency {member:?} exists ({declared_at})");
                };
                if !dependency.groups.contains(name) {
                    dependency.groups.push(name.clone());
                }
            }
        }
    }

    #[track_caller]
    fn into_health(self) -> Health {
        warning::log(&self.warnings());
        let context = Arc::new(HealthContext::default());
        let states = self.dependencies.into_iter().map(|mut dependency| {
            dependency.settings.refresh_every = self.timing.refresh_every;
            DependencyState::new(dependency, context.clone())
        });
        let health = Health {
            shared: Arc::new(SharedState {
                registry: Arc::new(Registry::new(states.collect(), context.clone())),
                refresher: Refresher::default(),
                groups: self.groups.into_iter().map(|group| group.name).collect(),
                info: self.info.into(),
                timing: self.timing,
                missing_peer: MissingPeer::default(),
                #[cfg(feature = "grpc")]
                grpc: self.grpc,
                #[cfg(feature = "grpc")]
                watches: Watches::default(),
            }),
        };
        #[cfg(feature = "grpc")]
        health.check_mapped_groups();
        health.shared.keep_refreshing();
        health
    }
}
