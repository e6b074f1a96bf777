//! What is checked may change while the app runs: tenants and plugins come and go.
//!
//! 1. Readers take the whole list as of one moment, without a lock.
//! 2. Whoever changes it copies it, one at a time; it is bounded.
//! 3. A cell that leaves is retired first, so that nothing its run still says is heard.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{Health, warning};
use crate::{cell::Cell, dependency::Dependency};

/// More dependencies are refused: each is an entry in every detailed answer.
pub(super) const MAX_DEPENDENCIES: usize = 1_000;

impl Health {
    /// Adds a dependency while the app runs, after those that are there.
    ///
    /// It counts from the next question on. Until its first verdict it is unknown, so a
    /// required one makes readiness 503 for as long as its first run takes; whoever asks
    /// waits for that run, so that the prober of a dependency that works sees nothing of it.
    /// With [`refresh_every`](crate::HealthBuilder::refresh_every), where nobody waits, the first
    /// run starts here, and readiness is 503 until it ends. Startup is latched: an app that
    /// has started stays started, and one that has not waits for this dependency, too.
    ///
    /// A name from outside goes through [`Dependency::try_new`]. Its groups may be new ones,
    /// but a layer takes a path for a group only when that has a member or was declared.
    ///
    /// # Errors
    ///
    /// When there is a dependency of this name already, or 1,000 of any name. Nothing changes then.
    pub fn add(&self, dependency: Dependency) -> Result<(), AddError> {
        let shared = self.shared();
        let cell = Cell::new(
            dependency,
            shared.epoch.clone(),
            Arc::downgrade(&shared.hub),
        );
        shared.members.add(cell.clone())?;
        warning::log(&self.pace().warnings_of(&cell.dependency));
        // After the list: whoever sees the new epoch sees the new list.
        shared.epoch.advance();
        if self.keep_refreshing() {
            cell.refresh(Instant::now());
        }
        Ok(())
    }

    /// Removes the dependency called `name`. Returns whether there was one.
    ///
    /// From the return on no answer and no listener is told of it. A run of it that is under way
    /// ends by itself within its timeout and is not heard; only its log event may still come if it ended
    /// at this very moment. Its gauges stand at `NaN`. One of the same name that is added later
    /// starts without a past.
    pub fn remove(&self, name: &str) -> bool {
        let shared = self.shared();
        let Some(cell) = shared.members.remove(name) else {
            return false;
        };
        shared.epoch.advance();
        // After the lock: a recorder of metrics is the app's code. One of the same name that was added
        // meanwhile says its own again with its next run.
        cell.close_numbers();
        true
    }
}

/// The cells of one handle, in the order of their addition.
#[derive(Debug)]
pub(super) struct Members {
    cells: ArcSwap<Vec<Arc<Cell>>>,
    /// Held by whoever changes the list.
    change: Mutex<()>,
}

impl Members {
    pub(super) fn new(cells: Vec<Arc<Cell>>) -> Self {
        Self {
            cells: ArcSwap::from_pointee(cells),
            change: Mutex::new(()),
        }
    }

    pub(super) fn now(&self) -> Arc<Vec<Arc<Cell>>> {
        self.cells.load_full()
    }

    fn add(&self, cell: Arc<Cell>) -> Result<(), AddError> {
        let _turn = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = self.now();
        let name = &cell.dependency.name;
        let kind = if cells.iter().any(|other| other.dependency.name == *name) {
            AddErrorKind::NameTaken
        } else if cells.len() >= MAX_DEPENDENCIES {
            AddErrorKind::TooMany
        } else {
            let longer = cells.iter().cloned().chain([cell]).collect();
            self.cells.store(Arc::new(longer));
            return Ok(());
        };
        Err(AddError {
            name: name.clone(),
            kind,
        })
    }

    fn remove(&self, name: &str) -> Option<Arc<Cell>> {
        let _turn = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cells = (*self.now()).clone();
        let at = cells
            .iter()
            .position(|cell| &*cell.dependency.name == name)?;
        let cell = cells.remove(at);
        cell.retire();
        self.cells.store(Arc::new(cells));
        Some(cell)
    }
}

/// Why a dependency was not added. Displays as one line that holds its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddError {
    name: Arc<str>,
    kind: AddErrorKind,
}

impl AddError {
    /// What stands in the way.
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
        write!(f, "the dependency {:?} was not added: ", self.name)?;
        match self.kind {
            AddErrorKind::NameTaken => f.write_str("there is one of this name already"),
            AddErrorKind::TooMany => write!(f, "there are {MAX_DEPENDENCIES} already"),
        }
    }
}

impl Error for AddError {}

/// What stands in the way of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddErrorKind {
    /// There is one of this name already.
    NameTaken,
    /// There are 1,000 already.
    TooMany,
}
