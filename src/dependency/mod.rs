//! What is checked, and with which settings.
//!
//! 1. `settings`: the times and thresholds of the runs of one dependency.
//! 2. `definition`: [`Dependency`], its name and its setters.
//! 3. `requirement`: which probes cover a dependency, which of them fail with it, and contradictory settings.

// In the order of their imports.
mod settings;

mod definition;

mod requirement;

pub use self::definition::{Dependency, InvalidDependencyName};
#[cfg(feature = "pool")]
pub(crate) use self::settings::DEFAULT_TIMEOUT;
pub(crate) use self::settings::{Requirement, RunSettings};
