use std::{iter, sync::Arc, time::Duration};

use super::Status;

/// One completed run, as the history keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckRun {
    /// What this run found by itself, before any threshold: up, degraded or down.
    pub status: Status,
    /// How long it took.
    pub duration: Duration,
}

/// The last completed runs of one dependency, oldest first.
///
/// Copied once a run, which does a round trip anyway, and shared by every report after that:
/// a ring written in place would need a lock that each report takes.
#[derive(Clone, Debug)]
pub(crate) struct History(Arc<[CheckRun]>);

impl Default for History {
    fn default() -> Self {
        Self([].into())
    }
}

impl History {
    /// More are dropped, oldest first.
    pub(crate) const RUNS: usize = 32;

    /// The history after one more run.
    #[must_use]
    pub(crate) fn then(&self, status: Status, duration: Duration) -> Self {
        let surplus = (self.0.len() + 1).saturating_sub(Self::RUNS);
        let kept = self.0[surplus..].iter().copied();
        Self(
            kept.chain(iter::once(CheckRun { status, duration }))
                .collect(),
        )
    }

    pub(crate) fn runs(&self) -> &[CheckRun] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{History, Status};

    #[test]
    fn the_last_runs_are_kept_in_order() {
        let mut history = History::default();
        assert_eq!(history.runs(), []);
        for number in 0..100_u64 {
            history = history.then(Status::Up, Duration::from_millis(number));
            let kept = usize::try_from(number + 1).expect("small");
            assert_eq!(history.runs().len(), kept.min(History::RUNS));
            let last = history.runs().last().expect("just pushed");
            assert_eq!(last.duration, Duration::from_millis(number));
        }
        assert_eq!(history.runs()[0].duration, Duration::from_millis(68));
    }
}
