use std::{error::Error, fmt, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    Health,
    evaluate::{Evaluation, PUBLISH_ALLOWANCE},
};
use crate::{
    bounds::MAX_DURATION,
    monitor::result::LastResult,
    report::{Reason, Report, ReportEntry, Status, one_line},
};

/// The longest time between a failure and the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The least time between two attempts.
const MIN_RETRY_PAUSE: Duration = Duration::from_millis(50);

impl Health {
    /// Waits until every required dependency is up or degraded, at most for `limit`.
    ///
    /// A failure is checked again once its result has expired
    /// ([`cache_failures_for`](crate::Dependency::cache_failures_for)), at the latest after 1 s. The last check is
    /// shortly before the limit. The wait includes dependencies that are
    /// [required until started](crate::Dependency::required_until_started), and no optional ones. Dropping the
    /// future cancels no run.
    ///
    /// # Errors
    ///
    /// If the app is not ready after `limit`, also because it drains or is in maintenance. The error names each
    /// dependency that is down or unknown, and the reason.
    ///
    /// # Panics
    ///
    /// Without a Tokio runtime that has a timer.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<(), NotReady> {
        let deadline = Instant::now() + limit.min(MAX_DURATION);
        let mut is_last = false;
        loop {
            let (not_ready, due) = match self.attempt_start(deadline, is_last).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let now = Instant::now();
            if is_last || now >= deadline {
                return Err(not_ready);
            }
            let failing = not_ready.failing().iter();
            let longest_run = failing.clone().filter_map(|entry| entry.duration).max();
            let needed = longest_run.unwrap_or_default() + PUBLISH_ALLOWANCE;
            let last_attempt = deadline - needed.min((deadline - now) / 2);
            let oldest = failing.filter_map(|entry| entry.age).max();
            let retry_after = RETRY_AFTER.saturating_sub(oldest.unwrap_or_default());
            let next = due.min(now + retry_after).max(now + MIN_RETRY_PAUSE);
            is_last = next >= last_attempt;
            sleep_until(next.min(last_attempt)).await;
        }
    }

    /// Checks once whether every required dependency is up or degraded, for an app that fails fast.
    ///
    /// The wait is limited by the timeout of each run, 800 ms by default, and not by
    /// [`answer_within`](crate::HealthBuilder::answer_within). The runs are concurrent.
    ///
    /// # Errors
    ///
    /// As [`wait_until_ready`](Self::wait_until_ready).
    pub async fn ensure_ready(&self) -> Result<(), NotReady> {
        let attempt = self.attempt_start(Instant::now() + MAX_DURATION, false);
        attempt.await.map_err(|(not_ready, _)| not_ready)
    }

    /// Makes one attempt. If it fails, also returns when the next run is due.
    async fn attempt_start(
        &self,
        deadline: Instant,
        is_last: bool,
    ) -> Result<(), (NotReady, Instant)> {
        let good = |last: &LastResult, now: Instant| {
            let age = now.saturating_duration_since(last.started);
            last.is_fresh(now) && (last.status.is_serving() || (!is_last && age < RETRY_AFTER))
        };
        loop {
            let mut evaluation = Evaluation::of_startup(self, deadline, good);
            evaluation.wait().await;
            let evaluated = evaluation.report();
            if evaluated.report.status.is_serving() {
                return Ok(());
            }
            let not_ready = NotReady::of(evaluated.report);
            // Otherwise a dependency was added in the meantime, and the error would name no reason.
            if not_ready.has_reason() || Instant::now() >= deadline {
                return Err((not_ready, evaluated.valid_until));
            }
        }
    }
}

/// The error of an app that is not ready.
///
/// It displays as one line with the reasons, without credentials:
///
/// ```text
/// not ready: database is down (timeout: no answer within 800 ms); cache is unknown (pending)
/// ```
///
/// Its `Debug` is the same line, because a `main` that returns the error prints that.
#[derive(Clone)]
pub struct NotReady(Report);

impl NotReady {
    fn of(mut report: Report) -> Self {
        let fails = |entry: &ReportEntry| entry.effective_status() >= Status::Unknown;
        report.entries.retain(fails);
        // Not ready already means not started.
        report.reason = report.reason.filter(|reason| *reason != Reason::Starting);
        Self(report)
    }

    fn has_reason(&self) -> bool {
        !self.failing().is_empty() || self.reason().is_some()
    }

    /// Returns the required dependencies that are down or unknown, in the order of registration.
    pub fn failing(&self) -> &[ReportEntry] {
        &self.0.entries
    }

    /// Returns `draining` or `maintenance`, if the app is out of rotation.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not ready")?;
        let mut separator = ": ";
        if let Some(reason) = self.reason() {
            write!(f, "{separator}{reason}")?;
            if let Some(message) = &self.0.message {
                write!(f, " ({message})")?;
            }
            separator = "; ";
        }
        for entry in self.failing() {
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
