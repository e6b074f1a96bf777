use std::{iter, sync::Arc, time::Duration};

use super::{Reason, Status};

/// One completed run in the history of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckRun {
    /// The result of this run alone, before any threshold: up, degraded or down.
    pub status: Status,
    /// The reason why it was degraded or down.
    pub reason: Option<Reason>,
    /// The duration of the run.
    pub duration: Duration,
}

/// The last completed runs of one dependency, oldest first.
///
/// It is copied once for each run and shared by all reports. A ring written in place would need a lock.
#[derive(Clone, Debug)]
pub(crate) struct History(Arc<[CheckRun]>);

impl Default for History {
    fn default() -> Self {
        Self([].into())
    }
}

impl History {
    /// The oldest of more runs are dropped.
    pub(crate) const RUNS: usize = 32;

    /// Adds one run at the end.
    #[must_use]
    pub(crate) fn with(&self, run: CheckRun) -> Self {
        let surplus = (self.0.len() + 1).saturating_sub(Self::RUNS);
        let kept = self.0[surplus..].iter().copied();
        Self(kept.chain(iter::once(run)).collect())
    }

    pub(crate) fn runs(&self) -> &[CheckRun] {
        &self.0
    }
}

#[cfg(test)]
impl CheckRun {
    pub(crate) fn new(status: Status, reason: Option<Reason>, ms: u64) -> Self {
        Self {
            status,
            reason,
            duration: Duration::from_millis(ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CheckRun, History, Status};

    #[test]
    fn the_last_runs_are_kept_in_order() {
        let mut history = History::default();
        assert_eq!(history.runs(), []);
        for number in 0..100_u64 {
            history = history.with(CheckRun::new(Status::Up, None, number));
            let kept = usize::try_from(number + 1).expect("small");
            assert_eq!(history.runs().len(), kept.min(History::RUNS));
            let last = history.runs().last().expect("just pushed");
            assert_eq!(last.duration, Duration::from_millis(number));
        }
        assert_eq!(history.runs()[0].duration, Duration::from_millis(68));
    }
}
