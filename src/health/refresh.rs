//! Runs in the background: at the period of `refresh_every`, or while a subscriber exists.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::registry::Registry;
use crate::monitor::run::{is_possible, random_share};

/// The least time between two rounds for subscribers.
const MIN_ROUND_PAUSE: Duration = Duration::from_millis(20);
/// The longest time between two rounds for subscribers: without a subscriber the task ends after it.
const MAX_ROUND_PAUSE: Duration = Duration::from_secs(1);
/// How late a round may start before its runtime counts as no longer driven.
const OVERDUE_AFTER: Duration = Duration::from_secs(1);

/// The background refresh of one handle. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct Refresher {
    period: Option<Duration>,
    task: Mutex<Option<RefreshTask>>,
}

#[derive(Debug)]
struct RefreshTask {
    handle: AbortHandle,
    next: Arc<NextRound>,
}

/// When the next round is planned.
#[derive(Debug)]
struct NextRound {
    origin: Instant,
    after_ms: AtomicU64,
}

impl NextRound {
    fn plan(&self, at: Instant) {
        let after = at.saturating_duration_since(self.origin).as_millis();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.after_ms.store(after, Ordering::Relaxed);
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let after = Duration::from_millis(self.after_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.origin) > after + OVERDUE_AFTER
    }
}

impl Refresher {
    pub(super) fn new(period: Option<Duration>) -> Self {
        Self {
            period,
            task: Mutex::new(None),
        }
    }

    pub(super) fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Starts the task, if there is work for it, it does not run yet, and a runtime is here.
    ///
    /// Each caller calls this, because a handle may be built before its runtime and outlive it.
    pub(super) fn keep_running(&self, registry: &Arc<Registry>) {
        if self.period.is_none() && !registry.context.broadcaster.has_subscribers() {
            return;
        }
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(task) = &*task
            && !task.handle.is_finished()
            && !task.next.is_overdue(now)
        {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !is_possible() {
            return;
        }
        // A random first phase, so that the replicas of an app do not check at the same moment.
        let first = self.period.unwrap_or_default().mul_f64(random_share());
        let next = Arc::new(NextRound {
            origin: now,
            after_ms: AtomicU64::new(0),
        });
        next.plan(now + first);
        let rounds = run_rounds(Arc::downgrade(registry), self.period, first, next.clone());
        let previous = task.replace(RefreshTask {
            handle: runtime.spawn(rounds).abort_handle(),
            next,
        });
        if let Some(previous) = previous {
            previous.handle.abort();
        }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.handle.abort();
        }
    }
}

async fn run_rounds(
    registry: Weak<Registry>,
    period: Option<Duration>,
    first: Duration,
    planned: Arc<NextRound>,
) {
    sleep(first).await;
    loop {
        let now = Instant::now();
        // Not held during the sleep: the task must not keep the dependencies alive.
        let next = registry
            .upgrade()
            .and_then(|registry| run_round(&registry, period, now));
        let Some(next) = next else { return };
        planned.plan(next);
        sleep(next.saturating_duration_since(now)).await;
    }
}

/// Starts the runs that are due. Returns when the next round is due; `None` if no work is left.
fn run_round(registry: &Registry, period: Option<Duration>, now: Instant) -> Option<Instant> {
    let states = registry.now();
    if let Some(period) = period {
        for state in states.iter() {
            state.refresh(now);
        }
        return Some(now + period + period.mul_f64(0.1 * random_share()));
    }
    if !registry.context.broadcaster.has_subscribers() {
        return None;
    }
    let mut next = now + MAX_ROUND_PAUSE;
    for state in states.iter() {
        state.join(now, |last| last.is_fresh(now));
        next = next.min(state.due_at().unwrap_or(next));
    }
    Some(next.max(now + MIN_ROUND_PAUSE))
}
