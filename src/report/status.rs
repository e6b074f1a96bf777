use std::fmt;

use serde::Serialize;

/// The status of a dependency or of the app, ordered from good to bad.
// Complete, so not `non_exhaustive`: a fifth status would break every dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Works. Probes answer 200.
    Up,
    /// Works, but needs attention. Probes answer 200.
    Degraded,
    /// The result is not known yet, or no longer. Probes answer 503.
    #[default]
    Unknown,
    /// Does not work. Probes answer 503.
    Down,
}

impl Status {
    /// Returns whether traffic can be served: up or degraded.
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// Returns the name in responses, logs and metrics: `up`, `degraded`, `unknown` or `down`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Down => "down",
        }
    }

    /// Returns the value in metrics; `None` while unknown, because 0 would be an outage at each start.
    pub(crate) const fn number(self) -> Option<f64> {
        match self {
            Self::Up => Some(1.0),
            Self::Degraded => Some(0.5),
            Self::Down => Some(0.0),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn the_worst_status_is_the_greatest() {
        let order = [Status::Up, Status::Degraded, Status::Unknown, Status::Down];
        assert!(order.is_sorted());
        assert_eq!(order.iter().max(), Some(&Status::Down));
    }
}
