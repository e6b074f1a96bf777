use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Gathering, HealthBuilder,
    members::Members,
    refresh::Refresh,
    warning::{self, ConfigWarning, Pace},
};
use crate::{
    access::MissingPeer,
    cell::Cell,
    engine::verdict::Verdict,
    epoch::Epoch,
    lifecycle::Lifecycle,
    probe::Probe,
    report::Report,
    subscribe::{Hub, Transitions},
};

/// A handle to the health of this process: what is checked, and the last verdicts.
///
/// Cheap to clone; all clones are one. Faces are made from it: a
/// [`HealthLayer`](crate::HealthLayer), or as many as there are listeners.
///
/// Checks run on the tokio runtime of the asker that starts them, detached from it. Who asks from
/// outside a runtime starts none, and is told what is known.
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

// As `Epoch`: no neighbour on the heap may take its lines away.
#[repr(align(128))]
pub(super) struct Shared {
    pub(super) members: Members,
    pub(super) info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    pub(super) lifecycle: Lifecycle,
    pub(super) epoch: Arc<Epoch>,
    pub(super) missing_peer: MissingPeer,
    pub(super) hub: Arc<Hub>,
    /// Declared: they exist without a member, too.
    pub(super) groups: Vec<Cow<'static, str>>,
    pub(super) answer_within: Duration,
    pub(super) refresh: Option<Refresh>,
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
        let epoch = Arc::new(Epoch::default());
        let hub = Arc::new(Hub::default());
        let health = Self {
            shared: Arc::new(Shared {
                members: Members::new(
                    builder
                        .dependencies
                        .into_iter()
                        .map(|dependency| {
                            Cell::new(dependency, epoch.clone(), Arc::downgrade(&hub))
                        })
                        .collect(),
                ),
                info: builder.info.into(),
                lifecycle: Lifecycle::default(),
                epoch,
                missing_peer: MissingPeer::default(),
                hub,
                groups: builder.groups.into_iter().map(|group| group.name).collect(),
                answer_within: builder.answer_within,
                refresh: builder.refresh_every.map(Refresh::new),
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

    /// The state of everything. May run checks, and waits for them
    /// [`answer_within`](HealthBuilder::answer_within) at most.
    ///
    /// Dropping the future cancels no run.
    pub async fn report(&self) -> Report {
        self.report_for(&Probe::Full).await
    }

    /// The answer to `probe`. May run checks, and waits as [`report`](Self::report).
    pub async fn report_for(&self, probe: &Probe) -> Report {
        let mut gathering = self.gather(probe);
        gathering.settle().await;
        gathering.finish().report
    }

    /// The last known state of everything. Runs nothing and never waits.
    pub fn snapshot(&self) -> Report {
        self.snapshot_for(&Probe::Full)
    }

    /// The last known answer to `probe`. Runs nothing and never waits.
    pub fn snapshot_for(&self, probe: &Probe) -> Report {
        Gathering::look(self.clone(), probe).finish().report
    }

    /// Makes the startup probe answer 200 from now on, whatever the dependencies say.
    pub fn set_started(&self) {
        if self.shared.lifecycle.set_started() {
            self.shared.epoch.advance();
        }
    }

    /// Whether the app has started: all required dependencies were up once, or
    /// [`set_started`](Self::set_started) was called.
    pub fn is_started(&self) -> bool {
        self.shared.lifecycle.is_started()
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
        let cells = self.cells();
        let mut warnings = self
            .pace()
            .warnings(cells.iter().map(|cell| &cell.dependency));
        if self.shared.missing_peer.is_noted() {
            warnings.push(ConfigWarning::no_peer_address());
        }
        warnings
    }

    pub(crate) fn missing_peer(&self) -> &MissingPeer {
        &self.shared.missing_peer
    }

    pub(super) fn pace(&self) -> Pace {
        Pace {
            answer_within: self.shared.answer_within,
            refresh_every: self.refresh_period(),
        }
    }

    /// Listens to transitions of all dependencies from now on, those added later included.
    ///
    /// Any number may listen, each at its own pace; none slows a run or another listener.
    pub fn subscribe(&self) -> Transitions {
        self.shared.hub.subscribe()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Asks the cells that `probe` looks at; runs start where they are due.
    pub(crate) fn gather(&self, probe: &Probe) -> Gathering {
        Gathering::ask(self.clone(), probe)
    }

    /// The same without those that are called as one of `excluded`, or in a group that is.
    pub(crate) fn gather_without(&self, probe: &Probe, excluded: &[String]) -> Gathering {
        Gathering::ask_without(self.clone(), probe, excluded)
    }

    /// Asks the one dependency called `name`, if `probe` looks at it.
    pub(crate) fn gather_one(&self, probe: &Probe, name: &str) -> Option<Gathering> {
        let cells = self.cells();
        let cell = cells
            .iter()
            .find(|cell| &*cell.dependency.name == name && probe.covers(&cell.dependency))?;
        Some(Gathering::ask_one(self.clone(), cell.clone()))
    }

    /// Moves whenever an answer made before may be wrong now.
    pub(crate) fn epoch(&self) -> u64 {
        self.shared.epoch.now()
    }

    /// Resolves when the epoch moves after this call, or is [nudged](Self::nudge).
    #[cfg(feature = "grpc")]
    pub(crate) fn epoch_moved(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.epoch.moved()
    }

    /// Wakes whoever waits for the epoch to move.
    #[cfg(feature = "grpc")]
    pub(crate) fn nudge(&self) {
        self.shared.epoch.nudge();
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn services(&self) -> &super::services::Services {
        &self.shared.services
    }

    /// The cells of all dependencies, in the order of their addition, as of now.
    pub(crate) fn cells(&self) -> Arc<Vec<Arc<Cell>>> {
        self.shared.members.now()
    }

    /// Whether `group` was declared or has a member.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        let has = |groups: &[Cow<'_, str>]| groups.iter().any(|name| name == group);
        has(&self.shared.groups) || self.cells().iter().any(|cell| has(&cell.dependency.groups))
    }

    /// Whether the verdicts are refreshed in the background; sees to it that they are.
    pub(super) fn keep_refreshing(&self) -> bool {
        match &self.shared.refresh {
            Some(refresh) => {
                refresh.keep_going(Arc::downgrade(&self.shared));
                true
            }
            None => false,
        }
    }

    pub(super) fn refresh_period(&self) -> Option<Duration> {
        self.shared.refresh.as_ref().map(|refresh| refresh.period)
    }

    /// How long `verdict` serves: until it is due, or with a background refresh until
    /// that must be dead.
    pub(super) fn counts_until(&self, cell: &Cell, verdict: &Verdict) -> Instant {
        match self.refresh_period() {
            Some(period) => {
                // One that backs off is refreshed once it is due.
                let since = if verdict.backs_off {
                    verdict.fresh_until
                } else {
                    verdict.started
                };
                since + (period + cell.dependency.settings.timeout) * 2
            }
            None => verdict.fresh_until,
        }
    }

    /// The longest that an asker waits, from `now`.
    pub(super) fn patience(&self, now: Instant) -> Instant {
        now + self.shared.answer_within
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        let names = cells.iter().map(|cell| &cell.dependency.name);
        f.debug_struct("Health")
            .field("dependencies", &names.collect::<Vec<_>>())
            .field("lifecycle", &self.shared.lifecycle)
            .finish_non_exhaustive()
    }
}
