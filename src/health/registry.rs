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

/// Each dependency is an entry in every response with details.
pub(super) const MAX_DEPENDENCIES: usize = 1_000;

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
        let name = &state.dependency.name;
        let (kind, text) = if states.iter().any(|other| other.dependency.name == *name) {
            let text = format!("dependency {name:?} already exists");
            (AddErrorKind::NameTaken, text)
        } else if states.len() >= MAX_DEPENDENCIES {
            let text =
                format!("dependency {name:?}: {MAX_DEPENDENCIES} dependencies already exist");
            (AddErrorKind::TooMany, text)
        } else {
            let longer = states.iter().cloned().chain([state]).collect();
            self.states.store(Arc::new(longer));
            return Ok(());
        };
        Err(AddError {
            name: name.clone(),
            kind,
            text,
        })
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
