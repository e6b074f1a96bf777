//! The public check and its thresholds.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::{Handle, Id};

use super::watchdog::{Watchdog, WatchdogReading};
use crate::{
    bounds::MAX_DURATION,
    check::{Check, CheckResult, InProcessCheck, Outcome, sealed},
    report::{Failure, Reason, whole_millis},
};

/// A shorter period costs more and measures no better.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// Degraded if the async runtime runs its tasks late, down if it has stopped running them.
///
/// A separate thread spawns an empty task each period and measures how late the runtime runs it.
///
/// It detects code that blocks all worker threads, as a lock, a blocking call or a loop without an `await` does.
/// It also detects a CPU that is too small for the work. It does not detect:
///
/// - one blocked worker thread among several;
/// - a task that waits for an event that never comes;
/// - blocked threads that are not workers, as those of `spawn_blocking` or `block_in_place`.
///
/// A runtime that is busy and makes progress is never down. If the check runs on the runtime that it
/// measures, that shows progress: the result is degraded at most. While all its workers are blocked, no probe
/// is answered, and a prober counts that as a failure. To get an answer even then, serve the probes on a
/// separate runtime and measure the app's runtime with [`for_runtime`](Self::for_runtime). On a current-thread
/// runtime a task may wait for some 60 others.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Health, checks::RuntimeLag};
///
/// # #[tokio::main] async fn main() {
/// let health = Health::builder()
///     .liveness_check("runtime", RuntimeLag::new(Duration::from_millis(100)))
///     .build();
/// # assert!(health.report().await.status.is_serving());
/// # }
/// ```
///
/// Each measurement costs one empty task; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct RuntimeLag {
    watchdog: Arc<Watchdog>,
    /// The runtime that is measured.
    runtime: Id,
    period: Duration,
    degraded_after: Duration,
    down_after: Duration,
}

impl RuntimeLag {
    /// Measures the current runtime each `period`: at least 10 ms, at most a year. Recommended: 100 ms.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime, and if the system refuses a thread.
    #[track_caller]
    pub fn new(period: Duration) -> Self {
        Self::for_runtime(&Handle::current(), period)
    }

    /// Measures `runtime` each `period`, as [`new`](Self::new) does with the current runtime.
    ///
    /// # Panics
    ///
    /// If the system refuses a thread.
    pub fn for_runtime(runtime: &Handle, period: Duration) -> Self {
        let period = period.clamp(SHORTEST_PERIOD, MAX_DURATION);
        Self {
            runtime: runtime.id(),
            watchdog: Arc::new(Watchdog::start(runtime.clone(), period)),
            period,
            degraded_after: Duration::from_millis(250),
            down_after: Duration::from_secs(5),
        }
    }

    /// Sets the lag above which the runtime is degraded. Default: 250 ms; at most a year.
    ///
    /// The worst lag of at least the last hundred periods counts. The default is a quarter of the time that a
    /// kubelet waits for a probe.
    #[must_use]
    pub fn degraded_after(mut self, lag: Duration) -> Self {
        self.degraded_after = lag.min(MAX_DURATION);
        self
    }

    /// Sets the present lag above which the runtime is down. Default: 5 s; at most a year.
    ///
    /// It is detected at most a period later. Choose it well above the longest stall that does not justify a
    /// restart of the process. Time in which the whole process was stopped does not count.
    #[must_use]
    pub fn down_after(mut self, lag: Duration) -> Self {
        self.down_after = lag.min(MAX_DURATION);
        self
    }

    /// The result of `reading`. `progress`: whether the runtime is known to make progress.
    fn judge(&self, reading: &WatchdogReading, progress: bool) -> CheckResult {
        let (present, worst) = (reading.waiting, reading.window.worst());
        let (lag_ms, worst_ms) = (whole_millis(present), whole_millis(worst));
        if present > self.down_after && !progress {
            return Err(Failure::new(Reason::RuntimeLag)
                .message(format!("no task has been run for {lag_ms} ms"))
                .observe("lag_ms", lag_ms)
                .observe("worst_ms", worst_ms));
        }
        let outcome = if worst > self.degraded_after {
            Outcome::degraded(Reason::RuntimeLag).message("tasks were run late")
        } else if reading.measured_at.elapsed() > self.degraded_after + self.period {
            // The watchdog was late, though its thread has nothing else to do.
            Outcome::degraded(Reason::RuntimeLag).message("the process got hardly any CPU time")
        } else {
            Outcome::up()
        };
        Ok(outcome
            .observe("lag_ms", lag_ms)
            .observe("worst_ms", worst_ms))
    }
}

impl Check for RuntimeLag {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        let here = Handle::try_current().is_ok_and(|runtime| runtime.id() == self.runtime);
        ready(self.judge(&self.watchdog.reading(), here))
    }

    fn kind(&self) -> Option<&'static str> {
        Some("runtime")
    }
}

impl sealed::InProcess for RuntimeLag {}

impl InProcessCheck for RuntimeLag {}
