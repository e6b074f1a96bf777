use std::{error::Error, fmt, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::Health;
use crate::{
    probe::Probe,
    report::{Entry, Report, Status},
};

/// Between two tries at first, then doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Health {
    /// Waits until every required dependency serves, trying again with pauses of 50 ms to 1 s.
    ///
    /// # Errors
    ///
    /// When that is not so within `limit`: the error names each one that does not serve and why.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<(), NotReady> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let last = match tokio::time::timeout_at(deadline, self.verify()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(not_ready)) => not_ready,
                Err(_) => return Err(NotReady::of(&self.snapshot_for(&Probe::Readiness))),
            };
            let next = Instant::now() + pause;
            if next >= deadline {
                return Err(last);
            }
            sleep_until(next).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Looks once whether every required dependency serves. For an app that would rather fail fast.
    ///
    /// # Errors
    ///
    /// When one does not: the error names each and why.
    pub async fn verify(&self) -> Result<(), NotReady> {
        let report = self.report_for(&Probe::Readiness).await;
        if report.status.is_serving() {
            Ok(())
        } else {
            Err(NotReady::of(&report))
        }
    }
}

/// The app is not ready to serve. Displays as one line that names what fails and why, without credentials.
#[derive(Debug)]
pub struct NotReady {
    failing: Vec<Entry>,
    why: Option<crate::report::Reason>,
}

impl NotReady {
    fn of(report: &Report) -> Self {
        Self {
            failing: report
                .entries
                .iter()
                .filter(|entry| entry.counted() >= Status::Unknown)
                .cloned()
                .collect(),
            why: report.reason,
        }
    }

    /// The required dependencies that do not serve.
    pub fn failing(&self) -> &[Entry] {
        &self.failing
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not ready")?;
        if self.failing.is_empty()
            && let Some(why) = self.why
        {
            write!(f, ": {why}")?;
        }
        for (number, entry) in self.failing.iter().enumerate() {
            f.write_str(if number == 0 { ": " } else { "; " })?;
            write!(f, "{} is {}", entry.name, entry.status)?;
            if let Some(reason) = entry.reason {
                write!(f, " ({reason}")?;
                if let Some(message) = &entry.message {
                    write!(f, ": {message}")?;
                }
                f.write_str(")")?;
            }
        }
        Ok(())
    }
}

impl Error for NotReady {}
