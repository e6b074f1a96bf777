//! The dependencies of a handle, which may change while the app runs: tenants and plugins come and go.
//!
//! 1. Readers take the whole list as of one moment, without a lock.
//! 2. A change copies it, one at a time; it is bounded.
//! 3. A dependency that leaves is retired first, so that the result of its last run does not count.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{Health, state::DependencyState, warning};
use crate::dependency::Dependency;

/// More dependencies are refused: each is an entry in every detailed answer.
pub(super) const MAX_DEPENDENCIES: usize = 1_000;

impl Health {
    /// Adds a dependency while the app runs, after the existing ones.
    ///
    /// It counts for the next caller. Until its first result it is unknown, so a
    /// required one makes readiness 503 for as long as its first run takes; a caller
    /// waits for that run, so that a prober sees no 503 if the dependency works.
    /// With [`refresh_every`](crate::HealthBuilder::refresh_every), where no caller waits, the first
    /// run starts here, and readiness is 503 until it ends. Startup is latched: an app that
    /// has started stays started, and one that has not waits for this dependency, too.
    ///
    /// A name from outside goes through [`Dependency::try_new`]. Its groups may be new ones,
    /// but a layer takes a path for a group only when that has a member or was declared.
    ///
    /// # Errors
    ///
    /// If a dependency of this name already exists, if there are 1,000 dependencies, or if the settings are
    /// those that [`build`](crate::HealthBuilder::build) refuses. Nothing changes then.
    pub fn add(&self, dependency: Dependency) -> Result<(), AddError> {
        let mut dependency = dependency;
        if let Err(fault) = dependency.validate() {
            return Err(AddError {
                name: dependency.name,
                kind: AddErrorKind::InvalidSettings,
                fault,
            });
        }
        let shared = self.shared();
        dependency.settings.refresh_every = self.refresh_period();
        let state = DependencyState::new(dependency, shared.common.clone());
        shared.registry.add(state.clone())?;
        warning::log(&self.timing().warnings_of(&state.dependency));
        // After the list: a reader of the new epoch reads the new list.
        shared.common.epoch.advance();
        if self.keep_refreshing() {
            state.refresh(Instant::now());
        }
        Ok(())
    }

    /// Removes the dependency called `name`. Returns whether there was one.
    ///
    /// After the return no report and no subscriber gets anything about it. A run under way is cancelled and
    /// its result does not count; only its log event may still come if it ended
    /// at this very moment. Its gauges are `NaN`. One of the same name that is added later
    /// starts without a history.
    pub fn remove(&self, name: &str) -> bool {
        let shared = self.shared();
        #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
        let Some(state) = shared.registry.remove(name) else {
            return false;
        };
        shared.common.epoch.advance();
        // After the lock: a recorder of metrics is the app's code. One of the same name that was added
        // meanwhile records its own again with its next run.
        #[cfg(feature = "metrics")]
        state.close_numbers();
        true
    }
}

/// The dependencies of one handle, in the order of their addition.
#[derive(Debug)]
pub(super) struct Registry {
    states: ArcSwap<Vec<Arc<DependencyState>>>,
    /// Held during a change of the list.
    change: Mutex<()>,
}

impl Registry {
    pub(super) fn new(states: Vec<Arc<DependencyState>>) -> Self {
        Self {
            states: ArcSwap::from_pointee(states),
            change: Mutex::new(()),
        }
    }

    pub(super) fn now(&self) -> Arc<Vec<Arc<DependencyState>>> {
        self.states.load_full()
    }

    fn add(&self, state: Arc<DependencyState>) -> Result<(), AddError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let states = self.now();
        let name = &state.dependency.name;
        let (kind, fault) = if states.iter().any(|other| other.dependency.name == *name) {
            let fault = format!("dependency {name:?} already exists");
            (AddErrorKind::NameTaken, fault)
        } else if states.len() >= MAX_DEPENDENCIES {
            let fault =
                format!("dependency {name:?}: {MAX_DEPENDENCIES} dependencies already exist");
            (AddErrorKind::TooMany, fault)
        } else {
            let longer = states.iter().cloned().chain([state]).collect();
            self.states.store(Arc::new(longer));
            return Ok(());
        };
        Err(AddError {
            name: name.clone(),
            kind,
            fault,
        })
    }

    fn remove(&self, name: &str) -> Option<Arc<DependencyState>> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut states = (*self.now()).clone();
        let at = states
            .iter()
            .position(|state| &*state.dependency.name == name)?;
        let state = states.remove(at);
        state.retire();
        self.states.store(Arc::new(states));
        Some(state)
    }
}

/// Why a dependency was not added. Displays as one line that holds its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddError {
    name: Arc<str>,
    kind: AddErrorKind,
    fault: String,
}

impl AddError {
    /// The kind of the error.
    pub fn kind(&self) -> AddErrorKind {
        self.kind
    }

    /// The name of the dependency that was not added.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault)
    }
}

impl Error for AddError {}

/// The kind of an [`AddError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddErrorKind {
    /// A dependency of this name already exists.
    NameTaken,
    /// 1,000 dependencies already exist.
    TooMany,
    /// The settings cannot work, as a timeout of zero.
    InvalidSettings,
}
