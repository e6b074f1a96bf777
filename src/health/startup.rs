//! Waiting until the app is ready, or the reason why it is not.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{Evaluation, Health};
use crate::{
    bounds::MAX_DURATION,
    monitor::result::LastResult,
    report::{Reason, Report, ReportEntry, Status, one_line},
};

/// An app that starts tries a failure again after this at the latest.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Between two tries at least.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// What the last try may need beside its run.
const OVERTIME: Duration = Duration::from_millis(100);

impl Health {
    /// Waits until every required dependency is up or degraded, for `limit` at most.
    ///
    /// A failure is tried again once its result has expired
    /// ([`cache_failures_for`](crate::Dependency::cache_failures_for)), after 1 s at the latest, and
    /// once more just before the limit. Dependencies that are
    /// [required until started](crate::Dependency::required_until_started) are waited for, optional ones are
    /// not. Dropping the future cancels no run.
    ///
    /// # Errors
    ///
    /// If that is not so within `limit`, also because the app drains or is in maintenance: the error
    /// says in one line which ones are down or unknown and why.
    ///
    /// # Panics
    ///
    /// Without a Tokio runtime that has a timer.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<(), NotReady> {
        let deadline = Instant::now() + limit.min(MAX_DURATION);
        let mut is_last = false;
        loop {
            let (not_ready, due) = match self.try_to_start(deadline, is_last).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let now = Instant::now();
            if is_last || now >= deadline {
                return Err(not_ready);
            }
            let rest = deadline - now;
            let last_try = deadline - (not_ready.longest_run() + OVERTIME).min(rest / 2);
            let next = due
                .min(now + not_ready.retry_after())
                .max(now + LEAST_PAUSE);
            is_last = next >= last_try;
            sleep_until(next.min(last_try)).await;
        }
    }

    /// Checks once whether every required dependency is up or degraded, for an app that fails fast.
    ///
    /// Waits for each run's own timeout, 800 ms by default, and not for
    /// [`answer_within`](crate::HealthBuilder::answer_within); the runs go side by side.
    ///
    /// # Errors
    ///
    /// As [`wait_until_ready`](Self::wait_until_ready).
    pub async fn ensure_ready(&self) -> Result<(), NotReady> {
        let tried = self.try_to_start(Instant::now() + MAX_DURATION, false);
        tried.await.map_err(|(not_ready, _)| not_ready)
    }

    /// One try. If it fails, also returns when a run is due.
    async fn try_to_start(
        &self,
        deadline: Instant,
        is_last: bool,
    ) -> Result<(), (NotReady, Instant)> {
        let good = |last: &LastResult, now: Instant| {
            let age = now.saturating_duration_since(last.started);
            last.is_fresh(now) && (last.status.is_serving() || (!is_last && age < RETRY_AFTER))
        };
        loop {
            let mut evaluation = Evaluation::of_startup(self.clone(), deadline, good);
            evaluation.wait().await;
            let evaluated = evaluation.report();
            if evaluated.report.status.is_serving() {
                return Ok(());
            }
            let not_ready = NotReady::of(evaluated.report);
            // An error without a reason helps nobody: what was added meanwhile is tried, too.
            if not_ready.names_something() || Instant::now() >= deadline {
                return Err((not_ready, evaluated.valid_until));
            }
        }
    }
}

/// The error of an app that is not ready. Displays as one line that names what fails and why, without
/// credentials:
///
/// ```text
/// not ready: database is down (timeout: no answer within 800 ms); cache is unknown (pending)
/// ```
///
/// Its `Debug` is the same line, since that is what a `main` prints that returns it.
#[derive(Clone)]
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

    /// The longest that a run of those took that fail.
    fn longest_run(&self) -> Duration {
        let took = self.failing.iter().filter_map(|entry| entry.duration);
        took.max().unwrap_or_default()
    }

    /// For how long the oldest failure may still be kept.
    fn retry_after(&self) -> Duration {
        let ages = self.failing.iter().filter_map(|entry| entry.age);
        RETRY_AFTER.saturating_sub(ages.max().unwrap_or_default())
    }

    fn names_something(&self) -> bool {
        !self.failing.is_empty() || self.reason.is_some()
    }

    /// The required dependencies that are down or unknown, in the order of their registration.
    pub fn failing(&self) -> &[ReportEntry] {
        &self.failing
    }

    /// Draining or maintenance, if the app is out of rotation.
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

/// As [`Display`](fmt::Display).
impl fmt::Debug for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NotReady {}
