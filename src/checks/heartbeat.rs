//! A background worker's sign of life.

use std::{
    fmt,
    future::{Future, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    check::{Check, CheckResult, InProcessCheck, Outcome, sealed},
    report::{Failure, Reason},
};

/// Down when nobody called [`beat`](Self::beat) for longer than its period.
///
/// Clone it into the worker, and give it to
/// [`HealthBuilder::liveness`](crate::HealthBuilder::liveness): a worker that hangs is
/// what a restart mends. The first period begins when the heartbeat is made.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Health, checks::Heartbeat};
///
/// let heartbeat = Heartbeat::new(Duration::from_secs(30));
/// let health = Health::builder().liveness_check("worker", heartbeat.clone()).build();
/// // In the worker's loop:
/// heartbeat.beat();
/// # drop(health);
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
    /// A heartbeat that is down after more than `period` of silence.
    pub fn new(period: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                period,
                origin: Instant::now(),
                last_beat_ms: AtomicU64::new(0),
            }),
        }
    }

    /// Says that the worker lives. Never blocks.
    pub fn beat(&self) {
        let now = millis(self.shared.origin.elapsed());
        self.shared.last_beat_ms.fetch_max(now, Ordering::Relaxed);
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
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Check, Heartbeat};

    #[tokio::test(start_paused = true)]
    async fn silence_longer_than_the_period_is_down_and_a_beat_mends_it() {
        let heartbeat = Heartbeat::new(Duration::from_secs(30));
        advance(Duration::from_secs(30)).await;
        assert!(heartbeat.check().await.is_ok());
        advance(Duration::from_millis(1)).await;
        assert!(heartbeat.check().await.is_err());
        heartbeat.beat();
        assert!(heartbeat.check().await.is_ok());
    }
}
