//! Runs in the background: at the period of `refresh_every`, or while a subscriber exists.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
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
#[derive(Debug, Default)]
pub(super) struct Refresher(Mutex<Option<RefreshTask>>);

#[derive(Debug)]
struct RefreshTask {
    handle: AbortHandle,
    /// When the next round is planned.
    next: Arc<Mutex<Instant>>,
}

impl Refresher {
    /// Starts the task, if there is work for it, it does not run yet, and a runtime is here.
    ///
    /// Each caller calls this, because a handle may be built before its runtime and outlive it.
    pub(super) fn keep_running(&self, registry: &Arc<Registry>, period: Option<Duration>) {
        if period.is_none() && !registry.context.broadcaster.has_subscribers() {
            return;
        }
        let mut task = lock(&self.0);
        let now = Instant::now();
        if let Some(task) = &*task
            && !task.handle.is_finished()
            && now <= *lock(&task.next) + OVERDUE_AFTER
        {
            return;
        }
        if !is_possible() {
            return;
        }
        // A random first phase, so that the replicas of an app do not check at the same moment.
        let first = period.unwrap_or_default().mul_f64(random_share());
        let next = Arc::new(Mutex::new(now + first));
        let rounds = run_rounds(Arc::downgrade(registry), period, first, next.clone());
        let previous = task.replace(RefreshTask {
            handle: tokio::spawn(rounds).abort_handle(),
            next,
        });
        if let Some(previous) = previous {
            previous.handle.abort();
        }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        if let Some(task) = &*lock(&self.0) {
            task.handle.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run_rounds(
    registry: Weak<Registry>,
    period: Option<Duration>,
    first: Duration,
    planned: Arc<Mutex<Instant>>,
) {
    sleep(first).await;
    loop {
        let now = Instant::now();
        // Not held during the sleep: the task must not keep the dependencies alive.
        let next = registry
            .upgrade()
            .and_then(|registry| run_round(&registry, period, now));
        let Some(next) = next else { return };
        *lock(&planned) = next;
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
