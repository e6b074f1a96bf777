//! Which probe looks at which dependencies.

use crate::{dependency::Dependency, probe::Probe};

impl Probe {
    /// Whether the answer to this probe takes `dependency` into account.
    pub(super) fn covers(&self, dependency: &Dependency) -> bool {
        match self {
            Self::Liveness => dependency.liveness,
            Self::Readiness => dependency.readiness,
            Self::Startup => dependency.required && dependency.readiness,
            Self::Full => true,
            Self::Group(group) => dependency.groups.iter().any(|name| name == group),
        }
    }
}
