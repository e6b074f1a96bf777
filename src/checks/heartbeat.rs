//! The heartbeat of a background worker.

use std::{
    future::{Future, ready},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::{
    bounds::MAX_DURATION,
    check::{Check, CheckResult, InProcessCheck, Outcome, sealed},
    report::{Failure, Reason, whole_millis},
};

/// Down if a worker has not called [`beat`](Self::beat) for longer than the period.
///
/// Clone it into the worker, and give it to
/// [`HealthBuilder::liveness_check`](crate::HealthBuilder::liveness_check): a restart repairs a worker that hangs.
/// The first period begins when the heartbeat is created. Down has the reason `timeout`.
///
/// 1. **Period**: three times the longest job, at least 30 s. A liveness probe that fails restarts the process.
/// 2. **Waits**: a worker that waits for a queue, a pool or a server is not broken. Await inside
///    [`while_waiting`](Self::while_waiting): a failure of the dependency is not a reason for a restart.
/// 3. **End**: a worker that ends on purpose must remove its dependency with
///    [`Health::remove`](crate::Health::remove). Otherwise the missing beats restart the process.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Health, checks::Heartbeat};
///
/// async fn work(mut jobs: tokio::sync::mpsc::Receiver<u32>, heartbeat: Heartbeat) {
///     // An empty queue does not count as a hang.
///     while let Some(job) = heartbeat.while_waiting(jobs.recv()).await {
///         println!("job {job}");
///         heartbeat.beat();
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let heartbeat = Heartbeat::new(Duration::from_secs(30));
/// let health = Health::builder().liveness_check("worker", heartbeat.clone()).build();
/// let (sender, jobs) = tokio::sync::mpsc::channel(1);
/// let worker = tokio::spawn(work(jobs, heartbeat));
/// sender.send(1).await.expect("the worker lives");
/// drop(sender);
/// worker.await.expect("no panic");
/// health.remove("worker");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Heartbeat {
    period: Duration,
    /// Beats are measured from this instant, so that each is a single store.
    origin: Instant,
    last_beat_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Creates a heartbeat that is down once `period` has passed without a beat; at most a year.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[track_caller]
    pub fn new(period: Duration) -> Self {
        assert!(!period.is_zero(), "heartbeat period must not be zero");
        Self {
            period: period.min(MAX_DURATION),
            origin: Instant::now(),
            last_beat_ms: Arc::default(),
        }
    }

    /// Records that the worker makes progress. Never blocks.
    pub fn beat(&self) {
        let now = whole_millis(self.origin.elapsed());
        self.last_beat_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// Awaits `future`, and beats meanwhile.
    ///
    /// The worker's task beats three times a period, so the check is up while it waits. If the task blocks inside
    /// a poll of `future`, the check is down after a period. A wait that never ends stays up: give `future` a
    /// timeout if it may hang. Cancel-safe if `future` is.
    ///
    /// ```no_run
    /// # #[cfg(feature = "redis")]
    /// # async fn work(heartbeat: tower_health::checks::Heartbeat, pool: bb8::Pool<bb8_redis::RedisConnectionManager>) {
    /// let connection = heartbeat.while_waiting(pool.get()).await;
    /// # drop(connection);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime, or if the runtime has no timer.
    pub async fn while_waiting<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            self.beat();
            let step = self.period / 3;
            if let Ok(output) = timeout(step, future.as_mut()).await {
                self.beat();
                return output;
            }
        }
    }

    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last_beat_ms.load(Ordering::Relaxed));
        self.origin.elapsed().saturating_sub(last)
    }
}

impl Check for Heartbeat {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        let silence = self.silence();
        let silence_ms = whole_millis(silence);
        ready(if silence <= self.period {
            Ok(Outcome::up().observe("silence_ms", silence_ms))
        } else {
            let message = format!("no beat for more than {} ms", whole_millis(self.period));
            Err(Failure::new(Reason::Timeout)
                .message(message)
                .observe("silence_ms", silence_ms))
        })
    }

    fn kind(&self) -> Option<&'static str> {
        Some("heartbeat")
    }
}

impl sealed::InProcess for Heartbeat {}

impl InProcessCheck for Heartbeat {}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::{advance, sleep, timeout};

    use super::{Check, Heartbeat};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_period_without_a_beat_is_down_until_a_beat() {
        let heartbeat = Heartbeat::new(30 * SECOND);
        advance(30 * SECOND).await;
        assert!(heartbeat.check().await.is_ok());
        advance(Duration::from_millis(1)).await;
        assert!(heartbeat.check().await.is_err());
        heartbeat.beat();
        assert!(heartbeat.check().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_waits_beats_until_its_wait_ends() {
        let heartbeat = Heartbeat::new(30 * SECOND);
        let worker = heartbeat.clone();
        let worker = tokio::spawn(async move {
            let waited = worker.while_waiting(sleep(600 * SECOND)).await;
            // After the wait the worker hangs.
            pending::<()>().await;
            waited
        });
        for _ in 0..600 {
            sleep(SECOND).await;
            assert!(heartbeat.check().await.is_ok());
        }
        sleep(32 * SECOND).await;
        assert!(heartbeat.check().await.is_err());
        assert!(timeout(SECOND, worker).await.is_err());
    }
}
