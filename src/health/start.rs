use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    Health,
    gather::{Gathering, Part},
};
use crate::{
    bounds::MAX_DURATION,
    cell::Cell,
    engine::verdict::Verdict,
    probe::Probe,
    report::{Reason, Report, ReportEntry, Status, one_line},
};

/// Between two tries at first, then doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An app that starts tries a failure again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What a run may need past its timeout to say so.
const OVERTIME: Duration = Duration::from_millis(100);

impl Health {
    /// Waits until every required dependency serves, trying again with pauses of 50 ms to 1 s.
    ///
    /// A failure is tried again once it has served its time
    /// ([`cache_failures_for`](crate::Dependency::cache_failures_for)), and after 1 s at the latest, even
    /// where it serves others for longer. Optional ones are not waited for. Dropping the future
    /// cancels no run.
    ///
    /// # Errors
    ///
    /// When that is not so within `limit`, also because the app drains or is taken out: the error
    /// says in one line which ones do not serve and why.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<(), NotReady> {
        let deadline = Instant::now() + limit.min(MAX_DURATION);
        let mut pause = FIRST_PAUSE;
        loop {
            let not_ready = match self.try_to_start(deadline).await {
                Ok(()) => return Ok(()),
                Err(not_ready) => not_ready,
            };
            let next = Instant::now() + pause;
            if next >= deadline {
                return Err(not_ready);
            }
            sleep_until(next).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Looks once whether every required dependency serves. For an app that would rather fail fast.
    ///
    /// Waits for each run's own timeout, 800 ms by default, and not for
    /// [`answer_within`](crate::HealthBuilder::answer_within); the runs go side by side.
    ///
    /// # Errors
    ///
    /// As [`wait_until_ready`](Self::wait_until_ready).
    pub async fn ensure_ready(&self) -> Result<(), NotReady> {
        self.try_to_start(Instant::now() + MAX_DURATION).await
    }

    async fn try_to_start(&self, deadline: Instant) -> Result<(), NotReady> {
        loop {
            let mut gathering = Gathering::ask_to_start(self.clone(), deadline);
            gathering.settle().await;
            let report = gathering.finish().report;
            if report.status.is_serving() {
                return Ok(());
            }
            let not_ready = NotReady::of(report);
            // An error without a reason helps nobody: what was added meanwhile is asked, too.
            if not_ready.names_something() || Instant::now() >= deadline {
                return Err(not_ready);
            }
        }
    }
}

impl Gathering {
    /// Asks what an app needs that starts, until `deadline` at most: every required cell, whoever
    /// refreshes it. Optional ones are not waited for.
    ///
    /// What serves will do while it is fresh. A failure is tried again after
    /// [`RETRY_AFTER`], however long it is kept for others.
    fn ask_to_start(health: Health, deadline: Instant) -> Self {
        let now = Instant::now();
        let members = health.cells();
        let needed = |cell: &&Arc<Cell>| Probe::Startup.covers(&cell.dependency);
        let longest = members
            .iter()
            .filter(needed)
            .map(|cell| cell.dependency.settings.timeout)
            .max();
        let good = |last: &Verdict| {
            let young = now.saturating_duration_since(last.started) < RETRY_AFTER;
            last.is_fresh(now) && (young || last.status.is_serving())
        };
        let parts = members
            .iter()
            .filter(needed)
            .map(|cell| Part {
                cell: cell.clone(),
                state: cell.ask_unless(now, good).into(),
            })
            .collect();
        Self {
            // Not the prober's patience: a run's own end is what the app waits for.
            patience: deadline.min(now + longest.unwrap_or_default() + OVERTIME),
            health,
            probe: Some(Probe::Readiness),
            members,
            parts,
        }
    }
}

/// The app is not ready to serve. Displays as one line that names what fails and why, without
/// credentials:
///
/// ```text
/// not ready: database is down (timeout: no answer within 800 ms); cache is unknown (pending)
/// ```
#[derive(Clone, Debug)]
pub struct NotReady {
    failing: Vec<ReportEntry>,
    reason: Option<Reason>,
    message: Option<Cow<'static, str>>,
}

impl NotReady {
    fn of(report: Report) -> Self {
        let mut failing = report.entries;
        failing.retain(|entry| entry.effective_status() >= Status::Unknown);
        Self {
            failing,
            // That it has not started is what the error says anyway.
            reason: report.reason.filter(|reason| *reason != Reason::Starting),
            message: report.message,
        }
    }

    fn names_something(&self) -> bool {
        !self.failing.is_empty() || self.reason.is_some()
    }

    /// The required dependencies that do not serve, in the order of their registration.
    pub fn failing(&self) -> &[ReportEntry] {
        &self.failing
    }

    /// Draining or maintenance, where the app itself wants no traffic.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not ready")?;
        let mut separator = ": ";
        if let Some(reason) = self.reason {
            write!(f, "{separator}{reason}")?;
            if let Some(message) = &self.message {
                write!(f, " ({message})")?;
            }
            separator = "; ";
        }
        for entry in &self.failing {
            write!(f, "{separator}{} is {}", entry.name, entry.status)?;
            if let Some(reason) = entry.reason {
                write!(f, " ({reason}")?;
                if let Some(message) = &entry.message {
                    write!(f, ": {}", one_line(message.clone()))?;
                }
                f.write_str(")")?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

impl Error for NotReady {}
