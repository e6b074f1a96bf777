//! Runs in the background: with a period of its own, or while somebody subscribes.

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

use super::handle::Shared;
use crate::monitor::run::{is_possible, random_share};

/// Between two rounds for subscribers at least, and at most: a subscriber that is gone ends the task.
const ROUNDS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How much later than planned a round may begin before its runtime counts as no longer driven.
const OVERDUE_AFTER: Duration = Duration::from_secs(1);

/// The background refresh of one handle. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Refresher {
    period: Option<Duration>,
    task: Mutex<Option<Task>>,
}

#[derive(Debug)]
struct Task {
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
}

impl Shared {
    /// Starts the task if there is something for it to do, no task that lives, and a runtime here.
    ///
    /// Called for each caller: a handle built before its runtime, or that outlives one,
    /// is refreshed from the next caller on.
    pub(super) fn keep_refreshing(self: &Arc<Self>) {
        let refresher = &self.refresher;
        if refresher.period.is_none() && !self.common.broadcaster.has_subscribers() {
            return;
        }
        let mut task = refresher
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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
        let period = refresher.period;
        let first = period.map_or(Duration::ZERO, |period| {
            // A random first phase, or all replicas of an app would refresh at the same moment.
            period.mul_f64(random_share())
        });
        let next = Arc::new(NextRound {
            origin: now,
            after_ms: AtomicU64::new(0),
        });
        next.plan(now + first);
        let rounds = refresh(Arc::downgrade(self), period, first, next.clone());
        let before = task.replace(Task {
            handle: runtime.spawn(rounds).abort_handle(),
            next,
        });
        if let Some(before) = before {
            before.handle.abort();
        }
    }

    /// One round. Returns when the next one is due, or `None` if there is nothing left to do.
    fn refresh(&self, period: Option<Duration>, now: Instant) -> Option<Instant> {
        let states = self.registry.now();
        if let Some(period) = period {
            for state in states.iter() {
                state.refresh(now);
            }
            return Some(now + period + period.mul_f64(0.1 * random_share()));
        }
        if !self.common.broadcaster.has_subscribers() {
            return None;
        }
        let mut next = now + ROUNDS.1;
        for state in states.iter() {
            state.join(now, |last| last.is_fresh(now));
            next = next.min(state.due_at().unwrap_or(next));
        }
        Some(next.max(now + ROUNDS.0))
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

async fn refresh(
    shared: Weak<Shared>,
    period: Option<Duration>,
    first: Duration,
    planned: Arc<NextRound>,
) {
    sleep(first).await;
    loop {
        let now = Instant::now();
        // Not held while asleep: the task must not keep alive what ends it.
        let next = shared
            .upgrade()
            .and_then(|shared| shared.refresh(period, now));
        let Some(next) = next else { return };
        planned.plan(next);
        sleep(next.saturating_duration_since(now)).await;
    }
}
