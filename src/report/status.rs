use std::fmt;

use serde::Serialize;

/// The status of a dependency or of the app, ordered from good to bad: of several, the worst counts.
// Complete for ever, so not `non_exhaustive`: a fifth status would break every dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Works.
    Up,
    /// Works, but needs attention. Answered with 200.
    Degraded,
    /// No run has ended yet. Answered with 503.
    #[default]
    Unknown,
    /// Does not work. Answered with 503.
    Down,
}

impl Status {
    /// Whether traffic can be served: up or degraded.
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// The word used in responses: `up`, `degraded`, `unknown` or `down`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Down => "down",
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
    fn the_worst_of_several_is_the_greatest() {
        let order = [Status::Up, Status::Degraded, Status::Unknown, Status::Down];
        assert!(order.is_sorted());
        assert_eq!(order.iter().max(), Some(&Status::Down));
    }
}
