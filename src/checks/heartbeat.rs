//! A background worker's sign of life.

use std::{
    fmt,
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
    report::{Failure, Reason},
};

/// Down if a worker has not called [`beat`](Self::beat) for longer than the period.
///
/// Clone it into the worker, and give it to
/// [`HealthBuilder::liveness_check`](crate::HealthBuilder::liveness_check): a restart repairs a worker that hangs.
/// The first period begins when the heartbeat is made.
///
/// 1. **Period**: three times the longest job, at least 30 s. A liveness probe that fails restarts the process.
/// 2. **Waits**: a worker that waits for a queue, a pool or a server is not broken. Await inside
///    [`while_waiting`](Self::while_waiting): a failure of the dependency is not a reason for a restart.
/// 3. **End**: a worker that ends on purpose takes its heartbeat along with
///    [`Health::remove`](crate::Health::remove), or the silence restarts the process.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Health, checks::Heartbeat};
///
/// async fn work(mut jobs: tokio::sync::mpsc::Receiver<u32>, heartbeat: Heartbeat) {
///     // An idle queue is no silence.
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
#[derive(Clone)]
pub struct Heartbeat {
    shared: Arc<Shared>,
}

struct Shared {
    period: Duration,
    /// Beats are counted from here, so that one is a single store.
    origin: Instant,
    last_beat_ms: AtomicU64,
}

impl Heartbeat {
    /// A heartbeat that is down after more than `period` of silence; at most a year.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[track_caller]
    pub fn new(period: Duration) -> Self {
        assert!(
            !period.is_zero(),
            "the period of a heartbeat must not be zero"
        );
        let period = period.min(MAX_DURATION);
        Self {
            shared: Arc::new(Shared {
                period,
                origin: Instant::now(),
                last_beat_ms: AtomicU64::new(0),
            }),
        }
    }

    /// Records that the worker makes progress. Never blocks.
    pub fn beat(&self) {
        let now = millis(self.shared.origin.elapsed());
        self.shared.last_beat_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// Awaits `future`, and beats for as long as the worker is able to.
    ///
    /// The worker's own task beats, three times a period: while it waits, the check is up; if it blocks inside
    /// a poll of `future`, the check is down like any other worker that hangs. A wait without an end is up without
    /// an end: give `future` a timeout of its own if it should not be.
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
    /// Without a Tokio runtime that has a timer.
    pub async fn while_waiting<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            self.beat();
            let step = self.shared.period / 3;
            if let Ok(output) = timeout(step, future.as_mut()).await {
                self.beat();
                return output;
            }
        }
    }

    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.shared.last_beat_ms.load(Ordering::Relaxed));
        self.shared.origin.elapsed().saturating_sub(last)
    }
}

impl Check for Heartbeat {
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        let silence = self.silence();
        let period = self.shared.period;
        let silence_ms = millis(silence);
        ready(if silence <= period {
            Ok(Outcome::up().observe("silence_ms", silence_ms))
        } else {
            let message = format!("no beat for more than {} ms", millis(period));
            Err(Failure::new(Reason::Timeout)
                .message(message)
                .observe("silence_ms", silence_ms))
        })
    }

    fn kind(&self) -> Option<&'static str> {
        Some("heartbeat")
    }
}

impl sealed::Local for Heartbeat {}

impl InProcessCheck for Heartbeat {}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat")
            .field("period", &self.shared.period)
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::{advance, sleep, timeout};

    use super::{Check, Heartbeat};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silence_beyond_the_period_is_down_until_a_beat() {
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
            // And then it hangs.
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
