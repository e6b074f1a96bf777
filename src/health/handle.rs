use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Evaluation, HealthBuilder,
    evaluate::excluded,
    events::Transitions,
    refresh::Refresher,
    registry::Registry,
    state::{Common, DependencyState},
    warning::{self, ConfigWarning, TimingSettings},
};
use crate::{access::MissingPeer, probe::Probe, report::Report};

/// A handle to the health of this process: what is checked, and the last results.
///
/// Cheap to clone; all clones share their state. Layers and the gRPC service are made from it.
///
/// Checks run on the Tokio runtime of the caller that starts them, detached from it. Outside a
/// Tokio runtime, or in one without a timer (`enable_time`), no check is started; the call returns the last
/// known results.
///
/// ```
/// use tower_health::{Health, Outcome, Status};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let health = Health::builder()
///     .check("database", async || Ok(Outcome::up()))
///     .build();
/// let report = health.report().await;
/// assert_eq!(report.status, Status::Up);
/// assert!(report.entry("database").is_some_and(|entry| entry.required));
/// # }
/// ```
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    pub(super) common: Arc<Common>,
    pub(super) missing_peer: MissingPeer,
    /// Declared: they exist without a member, too.
    pub(super) groups: Vec<Cow<'static, str>>,
    pub(super) answer_within: Duration,
    pub(super) refresher: Refresher,
    #[cfg(feature = "grpc")]
    pub(super) services: super::services::Services,
    #[cfg(feature = "grpc")]
    pub(super) closing: super::closing::StreamShutdown,
    #[cfg(feature = "grpc")]
    pub(super) watches: super::watch::Watches,
}

impl Health {
    /// Starts to describe what is checked.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::new()
    }

    pub(super) fn from_builder(builder: HealthBuilder) -> Self {
        warning::log(&builder.warnings());
        let common = Arc::new(Common::default());
        let states = builder.dependencies.into_iter().map(|mut dependency| {
            dependency.settings.refresh_every = builder.refresh_every;
            DependencyState::new(dependency, common.clone())
        });
        let health = Self {
            shared: Arc::new(Shared {
                registry: Registry::new(states.collect()),
                info: builder.info.into(),
                common,
                missing_peer: MissingPeer::default(),
                groups: builder.groups.into_iter().map(|group| group.name).collect(),
                answer_within: builder.answer_within,
                refresher: Refresher::new(builder.refresh_every),
                #[cfg(feature = "grpc")]
                services: builder.services,
                #[cfg(feature = "grpc")]
                closing: super::closing::StreamShutdown::default(),
                #[cfg(feature = "grpc")]
                watches: super::watch::Watches::default(),
            }),
        };
        #[cfg(feature = "grpc")]
        health.services().check(|group| health.has_group(group));
        health.keep_refreshing();
        health
    }

    /// Returns the report of all dependencies. May run checks, and waits for them
    /// [`answer_within`](HealthBuilder::answer_within) at most.
    ///
    /// Dropping the future cancels no run.
    pub async fn report(&self) -> Report {
        self.report_for(&Probe::Full).await
    }

    /// Returns the report for `probe`. May run checks, and waits as [`report`](Self::report) does.
    ///
    /// While the app drains or is in maintenance, a report for readiness or a group starts the runs that
    /// are due and does not wait for them. A result that is too old by then is unknown, with reason `stale`.
    pub async fn report_for(&self, probe: &Probe) -> Report {
        let mut evaluation = self.evaluate(probe);
        evaluation.wait().await;
        evaluation.report().report
    }

    /// Returns the last known state of all dependencies. Runs nothing and never waits.
    pub fn snapshot(&self) -> Report {
        self.snapshot_for(&Probe::Full)
    }

    /// Returns the last known state for `probe`. Runs nothing and never waits.
    pub fn snapshot_for(&self, probe: &Probe) -> Report {
        Evaluation::snapshot(self.clone(), probe).report().report
    }

    /// Makes the startup probe answer 200 from now on, whatever the dependencies say.
    pub fn set_started(&self) {
        if self.shared.common.lifecycle.set_started() {
            self.shared.common.epoch.advance();
        }
    }

    /// Whether the app has started: all required dependencies were up or degraded together once, or
    /// [`set_started`](Self::set_started) was called.
    pub fn is_started(&self) -> bool {
        self.latch(Instant::now());
        self.shared.common.lifecycle.is_started()
    }

    /// What cannot work of the settings, those of dependencies [added](Self::add) since included:
    /// timeouts, periods and thresholds that are at odds with each other, or with a prober that has
    /// the defaults of a kubelet (asks each 10 s, waits for 1 s, acts on the third failure).
    ///
    /// Each is logged once, too, with the feature `tracing`: at the build, or when its dependency is added.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_health::{Dependency, Health, Outcome};
    ///
    /// let slow = Dependency::new("slow", async || Ok(Outcome::up())).timeout(Duration::from_secs(5));
    /// let health = Health::builder().add(slow).build();
    /// for warning in health.warnings() {
    ///     eprintln!("{warning}");
    /// }
    /// # assert_eq!(health.warnings().len(), 1);
    /// ```
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        let states = self.states();
        let mut warnings = self
            .timing()
            .warnings(states.iter().map(|state| &state.dependency));
        if self.shared.missing_peer.is_noted() {
            warnings.push(ConfigWarning::no_peer_address());
        }
        warnings
    }

    pub(crate) fn missing_peer(&self) -> &MissingPeer {
        &self.shared.missing_peer
    }

    pub(super) fn timing(&self) -> TimingSettings {
        TimingSettings {
            answer_within: self.shared.answer_within,
            refresh_every: self.refresh_period(),
        }
    }

    /// Subscribes to the transitions of all dependencies, those added later included; while a
    /// subscriber exists, checks run.
    ///
    /// Each dependency is then checked as soon as its last result has expired, whether callers come or
    /// not, or with the period of a [background refresh](HealthBuilder::refresh_every). The
    /// checks run on the Tokio runtime on which this is called, or else on that of
    /// [`recv`](Transitions::recv). A subscriber slows no run and no other subscriber.
    pub fn subscribe(&self) -> Transitions {
        let weak = Arc::downgrade(&self.shared);
        let transitions = self.shared.common.broadcaster.subscribe(weak);
        self.keep_refreshing();
        transitions
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Asks the dependencies that `probe` looks at; runs start where they are due.
    pub(crate) fn evaluate(&self, probe: &Probe) -> Evaluation {
        Evaluation::start(self.clone(), probe, |_| None)
    }

    /// The same without those that are called as one of `names`, or in a group that is.
    pub(crate) fn evaluate_without(&self, probe: &Probe, names: &[String]) -> Evaluation {
        Evaluation::start(self.clone(), probe, |dependency| {
            excluded(dependency, names)
        })
    }

    /// Asks the one dependency called `name`, if `probe` looks at it.
    pub(crate) fn evaluate_dependency(&self, probe: &Probe, name: &str) -> Option<Evaluation> {
        let states = self.states();
        let state = states.iter().find(|state| {
            &*state.dependency.name == name && state.dependency.is_covered_by(probe)
        })?;
        Some(Evaluation::of_dependency(
            self.clone(),
            probe,
            state.clone(),
        ))
    }

    /// Moves whenever an answer made before may be wrong now.
    pub(crate) fn epoch(&self) -> u64 {
        self.shared.common.epoch.now()
    }

    /// Resolves when the epoch moves after this call, or is [nudged](Self::nudge).
    #[cfg(feature = "grpc")]
    pub(crate) fn epoch_moved(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.common.epoch.moved()
    }

    /// Wakes those that wait for the epoch to move.
    #[cfg(feature = "grpc")]
    pub(crate) fn nudge(&self) {
        self.shared.common.epoch.nudge();
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn services(&self) -> &super::services::Services {
        &self.shared.services
    }

    /// The states of all dependencies, in the order of their addition, as of now.
    pub(crate) fn states(&self) -> Arc<Vec<Arc<DependencyState>>> {
        self.shared.registry.now()
    }

    /// As [`states`](Self::states), under the name that other modules know.
    #[cfg(feature = "grpc")]
    pub(crate) fn cells(&self) -> Arc<Vec<Arc<DependencyState>>> {
        self.states()
    }

    /// Whether `group` was declared or has a member.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        let has = |groups: &[Cow<'_, str>]| groups.iter().any(|name| name == group);
        has(&self.shared.groups)
            || self
                .states()
                .iter()
                .any(|state| has(&state.dependency.groups))
    }

    /// Whether results are refreshed in the background; sees to it that they are.
    pub(super) fn keep_refreshing(&self) -> bool {
        self.shared.keep_refreshing();
        self.refresh_period().is_some()
    }

    pub(super) fn refresh_period(&self) -> Option<Duration> {
        self.shared.refresher.period()
    }

    /// Until when a caller waits that comes at `now`.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        now + self.shared.answer_within
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self.states();
        let names = states.iter().map(|state| &state.dependency.name);
        f.debug_struct("Health")
            .field("dependencies", &names.collect::<Vec<_>>())
            .field("lifecycle", &self.shared.common.lifecycle)
            .finish_non_exhaustive()
    }
}
