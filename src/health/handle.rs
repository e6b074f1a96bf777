use std::{borrow::Cow, fmt, sync::Arc};

use tokio::time::Instant;

use super::{
    context::HealthContext,
    refresh::Refresher,
    registry::{AddError, AddErrorKind, Registry},
    state::DependencyState,
    warning::{self, ConfigWarning, TimingSettings},
};
#[cfg(feature = "grpc")]
use super::{grpc_settings::GrpcSettings, watches::Watches};
use crate::{access::MissingPeer, dependency::Dependency};

/// A handle to the health of this process: its dependencies and their last results.
///
/// Cheap to clone; all clones share their state. Layers and the gRPC service are made from it.
///
/// A run is a detached task on the Tokio runtime of the caller that starts it. A caller that gives up does not
/// cancel it. Outside a Tokio runtime with a timer (`enable_time`) no run starts, and calls return the last
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
    pub(super) shared: Arc<SharedState>,
}

/// What all clones of a handle share.
pub(super) struct SharedState {
    pub(super) registry: Arc<Registry>,
    pub(super) refresher: Refresher,
    /// The declared groups. They exist even without members.
    pub(super) groups: Vec<Cow<'static, str>>,
    pub(super) info: Arc<[(Cow<'static, str>, Cow<'static, str>)]>,
    pub(super) timing: TimingSettings,
    pub(super) missing_peer: MissingPeer,
    #[cfg(feature = "grpc")]
    pub(super) grpc: GrpcSettings,
    #[cfg(feature = "grpc")]
    pub(super) watches: Watches,
}

impl SharedState {
    /// Starts the background refresh, if it is set or a subscriber exists, and it does not run.
    pub(super) fn keep_refreshing(&self) {
        let period = self.timing.refresh_every;
        self.refresher.keep_running(&self.registry, period);
    }
}

impl Health {
    /// Adds a dependency while the app runs, after the existing ones.
    ///
    /// It counts from the next caller on. Until its first result it is unknown, so a required dependency makes
    /// readiness 503 during its first run. A caller waits for that run: a prober sees no 503 if the
    /// dependency is up. With [`refresh_every`](crate::HealthBuilder::refresh_every) no caller waits: the first
    /// run starts here, and readiness is 503 until it ends. An app that has started stays started; startup of
    /// another app waits for this dependency too.
    ///
    /// For a name from outside use [`Dependency::try_new`]. The groups of the dependency may be new. A layer
    /// accepts the path of a group only if the group is declared or has a member.
    ///
    /// # Errors
    ///
    /// If a dependency of this name already exists, if there are 1,000 dependencies, or if the settings are
    /// those that [`build`](crate::HealthBuilder::build) rejects. Nothing changes then.
    pub fn add(&self, mut dependency: Dependency) -> Result<(), AddError> {
        if let Err(text) = dependency.validate() {
            return Err(AddError {
                name: dependency.name,
                kind: AddErrorKind::InvalidSettings,
                text,
            });
        }
        dependency.settings.refresh_every = self.shared.timing.refresh_every;
        let state = DependencyState::new(dependency, self.shared.registry.context.clone());
        self.shared.registry.add(state.clone())?;
        warning::log(&self.shared.timing.warnings_of(&state.dependency));
        // After the list: a reader of the new epoch gets the new list.
        self.context().epoch.advance();
        self.shared.keep_refreshing();
        if self.shared.timing.refresh_every.is_some() {
            state.refresh(Instant::now());
        }
        Ok(())
    }

    /// Removes the dependency called `name`. Returns whether it existed.
    ///
    /// After the return no report and no subscriber gets anything about it. A run in flight is canceled, and its
    /// result does not count; if it ends at this moment, its log event may still be written. Its gauges become
    /// `NaN`. A dependency of the same name that is added later starts without history.
    pub fn remove(&self, name: &str) -> bool {
        let Some(state) = self.shared.registry.remove(name) else {
            return false;
        };
        self.context().epoch.advance();
        // Outside the lock: the recorder of metrics is code of the app. If a dependency of the same name was
        // added in the meantime, its next run records its metrics again.
        state.retire_metrics();
        true
    }

    /// Returns the settings that cannot work together, also of dependencies [added](Self::add) later.
    ///
    /// These are timeouts, periods and thresholds that contradict each other, or the defaults of a kubelet. A
    /// kubelet probes every 10 s, waits 1 s, and acts on the third failure in a row. With the feature `tracing`
    /// each warning is also logged once, by [`build`](crate::HealthBuilder::build) or [`add`](Self::add).
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
        let dependencies = states.iter().map(|state| &state.dependency);
        let mut warnings = self.shared.timing.warnings(dependencies);
        if self.shared.missing_peer.is_noted() {
            warnings.push(ConfigWarning::no_peer_address());
        }
        warnings
    }

    pub(crate) fn missing_peer(&self) -> &MissingPeer {
        &self.shared.missing_peer
    }

    pub(super) fn context(&self) -> &HealthContext {
        &self.shared.registry.context
    }

    /// Changes whenever an earlier answer may be wrong.
    pub(crate) fn epoch(&self) -> u64 {
        self.context().epoch.now()
    }

    /// All dependencies at this moment, in the order of their addition.
    pub(super) fn states(&self) -> Arc<Vec<Arc<DependencyState>>> {
        self.shared.registry.now()
    }

    /// Whether `group` is declared or has a member.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        let has = |groups: &[Cow<'_, str>]| groups.iter().any(|name| name == group);
        let states = self.states();
        has(&self.shared.groups) || states.iter().any(|state| has(&state.dependency.groups))
    }

    /// When a caller that comes at `now` gets its answer at the latest.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        now + self.shared.timing.answer_within
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self.states();
        let names = states.iter().map(|state| &state.dependency.name);
        f.debug_struct("Health")
            .field("dependencies", &names.collect::<Vec<_>>())
            .field("lifecycle", &self.context().lifecycle)
            .finish_non_exhaustive()
    }
}
