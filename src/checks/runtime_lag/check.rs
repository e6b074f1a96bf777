use std::{
    fmt,
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Handle;

use super::watchdog::{Seen, Watchdog};
use crate::{
    bounds::MAX_DURATION,
    check::{Check, CheckResult, InProcessCheck, Outcome, sealed},
    report::{Failure, Reason},
};

/// More often would cost more than it tells.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// Degraded when the async runtime runs its tasks late, down when it has stopped to run some.
///
/// A thread of its own looks each period, in two ways:
///
/// 1. It hands the runtime an empty task and measures how late that runs.
/// 2. It looks at each worker thread: one that is neither parked nor has got through 61 polls (the
///    runtime's `event_interval`) since the last look stands still. So a process is not alive merely because another worker
///    answers the probe: whatever waits on the wedged one (its connections, its timers, the task it was
///    handed last) waits for ever.
///
/// What it sees: code that blocks a worker thread (a lock, a blocking call, a loop without an
/// `await`), all of them or one, and a CPU too small for the work. What it does not see: a single task that
/// waits for something that never comes, and threads that are not the runtime's workers, as those
/// of `spawn_blocking` or of `block_in_place`, which may block.
///
/// When every worker is wedged, nobody of this runtime is left to answer; a prober takes the
/// silence for a failure. To have the answer all the same, serve the probes on a runtime of their own
/// and watch the app's with [`of`](Self::of).
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
/// Each look costs one empty task; the thread ends with the last clone.
#[derive(Clone)]
pub struct RuntimeLag {
    watchdog: Arc<Watchdog>,
    period: Duration,
    degraded_after: Duration,
    down_after: Duration,
}

impl RuntimeLag {
    /// Looks at the current runtime each `period`, 10 ms at least. A good one is 100 ms.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and when the system has no thread to give.
    #[track_caller]
    pub fn new(period: Duration) -> Self {
        Self::for_runtime(&Handle::current(), period)
    }

    /// The same for another runtime than that of the probes.
    ///
    /// # Panics
    ///
    /// When the system has no thread to give.
    pub fn for_runtime(runtime: &Handle, period: Duration) -> Self {
        let period = period.clamp(SHORTEST_PERIOD, MAX_DURATION);
        Self {
            watchdog: Arc::new(Watchdog::start(runtime.clone(), period)),
            period,
            degraded_after: Duration::from_millis(250),
            down_after: Duration::from_secs(5),
        }
    }

    /// Degraded, which answers 200, when something has waited longer than this within the last
    /// hundred periods. Default: 250 ms, a quarter of what a kubelet waits for a probe.
    #[must_use]
    pub fn degraded_after(mut self, lag: Duration) -> Self {
        self.degraded_after = lag.min(MAX_DURATION);
        self
    }

    /// Down when something has been waiting longer than this, and still is. Default: 5 s.
    ///
    /// It is noticed a period later at most. Choose it well above the longest stall that is no
    /// reason to restart the process; time in which the whole process was stopped does not count.
    #[must_use]
    pub fn down_after(mut self, lag: Duration) -> Self {
        self.down_after = lag.min(MAX_DURATION);
        self
    }

    fn judge(&self, seen: &Seen) -> CheckResult {
        let (present, worst) = (seen.present(), seen.worst());
        if present > self.down_after {
            let what = if seen.waiting >= seen.standstill {
                "no task has been run"
            } else {
                "a worker thread has not moved"
            };
            let message = format!("{what} for {} ms", millis(present));
            return Err(Failure::new(Reason::RuntimeLag)
                .message(message)
                .observe("lag_ms", millis(present))
                .observe("worst_ms", millis(worst)));
        }
        let outcome = if worst > self.degraded_after {
            Outcome::degraded(Reason::RuntimeLag).message("tasks were run late")
        } else if seen.age() > self.degraded_after + self.period {
            // The one thread that has nothing else to do came late.
            Outcome::degraded(Reason::RuntimeLag).message("this process has hardly been run")
        } else {
            Outcome::up()
        };
        Ok(outcome
            .observe("lag_ms", millis(present))
            .observe("worst_ms", millis(worst)))
    }
}

impl Check for RuntimeLag {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        ready(self.judge(&self.watchdog.seen()))
    }

    fn kind(&self) -> Option<&'static str> {
        Some("runtime")
    }
}

impl sealed::Local for RuntimeLag {}

impl InProcessCheck for RuntimeLag {}

impl fmt::Debug for RuntimeLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeLag")
            .field("period", &self.period)
            .field("degraded_after", &self.degraded_after)
            .field("down_after", &self.down_after)
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
