//! The dependencies of a handle, which may change while the app runs.
//!
//! 1. Readers get the whole list of one moment, without a lock.
//! 2. A change copies the list. Changes are made one after the other, and the length is bounded.
//! 3. A removed dependency is retired first, so that the result of its last run does not count.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use super::{context::HealthContext, state::DependencyState};
use crate::dependency::Dependency;

/// Each dependency is an entry in every response with details.
const MAX_DEPENDENCIES: usize = 1_000;

/// The dependencies of one handle, in the order of their addition.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) context: Arc<HealthContext>,
    states: ArcSwap<Vec<Arc<DependencyState>>>,
    /// Held during a change of the list.
    change: Mutex<()>,
}

impl Registry {
    pub(super) fn new(states: Vec<Arc<DependencyState>>, context: Arc<HealthContext>) -> Self {
        Self {
            context,
            states: ArcSwap::from_pointee(states),
            change: Mutex::new(()),
        }
    }

    pub(super) fn now(&self) -> Arc<Vec<Arc<DependencyState>>> {
        self.states.load_full()
    }

    pub(super) fn add(&self, state: Arc<DependencyState>) -> Result<(), AddError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let states = self.now();
        let existing = states.iter().map(|state| &state.dependency);
        check_addition(existing, &state.dependency)?;
        let longer = states.iter().cloned().chain([state]).collect();
        self.states.store(Arc::new(longer));
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<DependencyState>> {
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

/// Whether `new` can join the dependencies that `exist`.
pub(super) fn check_addition<'a>(
    mut exist: impl ExactSizeIterator<Item = &'a Dependency>,
    new: &Dependency,
) -> Result<(), AddError> {
    let (name, count) = (&new.name, exist.len());
    let (kind, fault) = if exist.any(|other| other.name == *name) {
        (AddErrorKind::NameTaken, " already exists".to_owned())
    } else if count >= MAX_DEPENDENCIES {
        let fault = format!(": {MAX_DEPENDENCIES} dependencies already exist");
        (AddErrorKind::TooMany, fault)
    } else {
        return Ok(());
    };
    Err(AddError {
        name: name.clone(),
        kind,
        text: format!("dependency {name:?}{fault}"),
    })
}

/// The error of [`Health::add`](crate::Health::add). It displays as one line with the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddError {
    pub(super) name: Arc<str>,
    pub(super) kind: AddErrorKind,
    pub(super) text: String,
}

impl AddError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> AddErrorKind {
        self.kind
    }

    /// Returns the name of the dependency that was not added.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
    /// The settings contradict each other, or a duration is zero.
    InvalidSettings,
}
