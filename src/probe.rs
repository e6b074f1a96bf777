//! [`Probe`]: what a caller can probe.

use std::{borrow::Cow, fmt};

/// A probe that a [`Health`](crate::Health) answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// Whether this process should be restarted.
    ///
    /// Covers in-process checks only, and answers 200 while the app drains.
    Liveness,
    /// Whether the app should get traffic.
    ///
    /// Covers the lifecycle and all dependencies but those
    /// [excluded from readiness](crate::Dependency::exclude_from_readiness).
    Readiness,
    /// Whether the app has ever been ready. Latched: once 200, always 200.
    Startup,
    /// The status of all dependencies.
    Full,
    /// The status of a named group of dependencies.
    ///
    /// A group that was not [declared](crate::HealthBuilder::group) exists while it has a member. A group follows
    /// the lifecycle as readiness does. While the app starts, drains or is in maintenance, it answers 503 over
    /// HTTP and `NOT_SERVING` over gRPC.
    Group(Cow<'static, str>),
}

impl Probe {
    /// Returns the probe of the group `name`.
    pub fn group(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Group(name.into())
    }

    /// Returns `liveness`, `readiness`, `startup`, `full` or the name of the group.
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

/// Writes [`as_str`](Probe::as_str).
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
