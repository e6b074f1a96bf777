//! The probes.

use std::{borrow::Cow, fmt};

/// A probe that a [`Health`](crate::Health) answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// Should this process be restarted? Covers in-process checks only; 200 while draining.
    Liveness,
    /// Should it get traffic? Lifecycle and all dependencies but those excluded from readiness.
    Readiness,
    /// Has it ever been ready? Latched: once 200, always 200.
    Startup,
    /// How is everything? All dependencies.
    Full,
    /// How is this named group of dependencies? A group that was not
    /// [declared](crate::HealthBuilder::group) exists while it has a member, and is unknown otherwise.
    ///
    /// A group follows the lifecycle as readiness does, over HTTP and gRPC alike: while the app starts,
    /// drains or is in maintenance, it answers 503 (`NOT_SERVING`).
    Group(Cow<'static, str>),
}

impl Probe {
    /// The group called `name`.
    pub fn group(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Group(name.into())
    }

    /// The word for it, as in a metric's label: `liveness`, `readiness`, `startup`, `full` or the group's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::Full => "full",
            Self::Group(name) => name,
        }
    }
}

/// As [`as_str`](Probe::as_str).
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
