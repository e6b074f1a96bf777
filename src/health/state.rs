//! One dependency of a handle with its last result. Here, and here alone, a run meets those who get its result.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{runtime::Handle, task::AbortHandle, time::Instant};

use super::{
    epoch::Epoch,
    events::{self, Broadcaster, Transition},
    lifecycle::Lifecycle,
};
#[cfg(feature = "metrics")]
use crate::metrics::CheckNumbers;
use crate::{
    dependency::{Dependency, Requirement},
    monitor::{
        result::LastResult,
        run,
        single_flight::{Joined, Published, RunPermit, SingleFlight, Wait},
    },
    probe::Probe,
    report::{Reason, ReportEntry, Status},
};

/// What all dependencies of a handle share with it.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) lifecycle: Lifecycle,
    pub(super) epoch: Epoch,
    pub(super) broadcaster: Broadcaster,
}

/// A dependency, its runs and its last result.
#[derive(Debug)]
pub(crate) struct DependencyState {
    pub(crate) dependency: Dependency,
    flight: Arc<SingleFlight<LastResult>>,
    common: Arc<Common>,
    /// The run under way, or the last one.
    run: Mutex<Option<AbortHandle>>,
    created_at: Instant,
    /// Whether it was up or degraded once.
    has_served: AtomicBool,
    /// Its dependency was removed: the results of its runs no longer count.
    retired: Arc<AtomicBool>,
    #[cfg(feature = "metrics")]
    numbers: CheckNumbers,
}

/// What an evaluation makes of a result that says nothing about the present any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outdated {
    /// It is shown, with its age: the caller wants no newer one.
    Shown,
    /// The status is unknown for this reason if the result said nothing any more at that time.
    Unknown(Reason, Instant),
}

/// The state of a dependency at one moment.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) status: Status,
    /// In the place of the result's own.
    reason: Option<Reason>,
    result: Option<Arc<LastResult>>,
    pending_since: Option<Instant>,
    /// Nothing changes by time alone before then; `now` at the latest if a run is due.
    pub(super) valid_until: Instant,
}

impl DependencyState {
    pub(super) fn new(dependency: Dependency, common: Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            dependency,
            flight: Arc::new(SingleFlight::new()),
            common,
            run: Mutex::new(None),
            created_at: Instant::now(),
            has_served: AtomicBool::new(false),
            retired: Arc::default(),
            #[cfg(feature = "metrics")]
            numbers: CheckNumbers::new(),
        })
    }

    /// From now on no result of it counts.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.common.broadcaster.forget(&self.dependency.name);
    }

    /// Its numbers say from now on that it is gone; after `retire`.
    #[cfg(feature = "metrics")]
    pub(super) fn close_numbers(&self) {
        if let (Some(last), _) = self.flight.peek() {
            self.numbers.retire(&self.dependency, &last);
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether `probe` fails with it at present.
    pub(super) fn is_required(&self, probe: &Probe) -> bool {
        match self.dependency.requirement(probe) {
            Requirement::Required => true,
            Requirement::Optional => false,
            Requirement::RequiredUntilStarted => {
                !(self.common.lifecycle.is_started() && self.has_served.load(Ordering::Acquire))
            }
        }
    }

    /// Joins the run under way, or starts one, unless the last result is `good`. Returns what to wait
    /// for, if there is anything.
    ///
    /// Without a runtime that has a timer no run starts.
    pub(super) fn join(
        self: &Arc<Self>,
        now: Instant,
        good: impl Fn(&LastResult) -> bool,
    ) -> Option<Wait<LastResult>> {
        let last = self.flight.peek().0;
        if last.is_some_and(|last| good(&last)) || !run::is_possible() {
            return None;
        }
        let settings = &self.dependency.settings;
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        match self.flight.join(now, settings.timeout, here, good) {
            Joined::Last | Joined::Full => None,
            Joined::Started(permit, wait) => {
                self.start(permit);
                Some(wait)
            }
            Joined::Waiting(wait) => Some(wait),
            Joined::Overrun(active) => {
                if active.is_stuck(now) {
                    // Each period of it is a failed run, so that the thresholds count as they do elsewhere.
                    let published = self.flight.amend(|last| {
                        let is_due = last.is_none_or(|last| !last.is_fresh(now));
                        is_due.then(|| LastResult::stuck(last, active.since, now, settings))
                    });
                    self.restate(published);
                }
                None
            }
        }
    }

    pub(super) fn has_result(&self) -> bool {
        self.flight.peek().0.is_some()
    }

    /// When a run is due; `None` before the first result.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.flight.peek().0.map(|last| last.fresh_until)
    }

    /// When the run started that the last result is of.
    #[cfg(feature = "grpc")]
    pub(super) fn last_start(&self) -> Option<Instant> {
        self.flight.peek().0.map(|last| last.started)
    }

    /// Starts a run, unless one is under way or the last result has a longer lifetime of its own.
    pub(super) fn refresh(self: &Arc<Self>, now: Instant) {
        let settings = self.dependency.settings;
        self.join(now, |last| {
            settings.has_lifetime(last.found == Status::Down) && last.is_fresh(now)
        });
    }

    fn start(self: &Arc<Self>, permit: RunPermit<LastResult>) {
        // Weak: a run ends with the last handle, however long its timeout.
        let state = Arc::downgrade(self);
        let check = self.dependency.check.clone();
        let settings = self.dependency.settings;
        let run = run::detach(check, settings, permit, move |published, cause| {
            if let Some(state) = state.upgrade() {
                state.publish(published, cause);
            }
        });
        // One that was superseded ends as soon as its runtime is driven again.
        if let Some(before) = self.run().replace(run) {
            before.abort();
        }
    }

    fn run(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the result of a run.
    fn publish(&self, published: &Published<LastResult>, cause: Option<&str>) {
        if self.is_retired() {
            return;
        }
        if published.value.status.is_serving() {
            self.has_served.store(true, Ordering::Release);
        }
        self.common.epoch.advance();
        #[cfg(feature = "metrics")]
        self.numbers.record(&self.dependency, &published.value);
        self.tell(published, cause);
    }

    /// Tells a status that changed without the end of a run.
    fn restate(&self, published: Option<Published<LastResult>>) {
        let Some(published) = published.filter(|_| !self.is_retired()) else {
            return;
        };
        self.common.epoch.advance();
        #[cfg(feature = "metrics")]
        self.numbers.restate(&self.dependency, &published.value);
        self.tell(&published, None);
    }

    fn tell(&self, published: &Published<LastResult>, cause: Option<&str>) {
        if self.is_retired() {
            // Meanwhile: the number just recorded must not be the last.
            #[cfg(feature = "metrics")]
            self.numbers.retire(&self.dependency, &published.value);
            return;
        }
        events::log(&self.dependency, published, cause);
        let is_required = self.is_required(&Probe::Readiness);
        let transition = Transition::of(&self.dependency, is_required, published, self.created_at);
        if let Some(transition) = transition {
            self.common.broadcaster.publish(transition, &self.retired);
        }
    }

    /// Its state at `now`, without a run.
    pub(super) fn current(&self, now: Instant, outdated: Outdated) -> Current {
        let (mut result, active) = self.flight.peek();
        let is_refreshed = self.dependency.settings.refresh_every.is_some();
        if is_refreshed
            && let Some(seen) = result.clone()
            && !seen.is_usable(now)
            && seen.reason != Some(Reason::Stale)
        {
            let published = self.flight.amend(|last| {
                let is_same = last.is_some_and(|last| last.ended == seen.ended);
                is_same.then(|| seen.stale(now))
            });
            self.restate(published);
            result = self.flight.peek().0;
        }
        let is_due = result.as_ref().is_none_or(|last| {
            if is_refreshed {
                !last.is_usable(now)
            } else {
                !last.is_fresh(now)
            }
        });
        let pending_since = active
            .filter(|active| active.is_stuck(now) || (is_due && !active.has_published))
            .map(|active| active.since);
        let Some(last) = &result else {
            return Current {
                status: Status::Unknown,
                reason: Some(Reason::Pending),
                result,
                pending_since,
                valid_until: now,
            };
        };
        let (status, reason) = match outdated {
            // What no caller waits for is shown for its lifetime only.
            Outdated::Unknown(Reason::Stale, requested_at)
                if !is_refreshed && !last.is_fresh(requested_at) =>
            {
                (Status::Unknown, Some(Reason::Stale))
            }
            Outdated::Unknown(reason, requested_at)
                if !is_refreshed && !last.is_usable(requested_at) =>
            {
                (Status::Unknown, Some(reason))
            }
            // Too few runs have ended for the thresholds.
            _ if last.status == Status::Unknown => (Status::Unknown, Some(Reason::Pending)),
            _ => (last.status, None),
        };
        Current {
            status,
            reason,
            pending_since,
            valid_until: if is_refreshed {
                last.usable_until
            } else {
                last.fresh_until
            },
            result,
        }
    }

    /// The entry that stands in a report.
    pub(super) fn entry(&self, current: &Current, is_required: bool, now: Instant) -> ReportEntry {
        let result = current.result.as_deref();
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_shown = current.reason.is_none();
        let shown = result.filter(|_| is_shown);
        ReportEntry {
            name: self.dependency.name.clone(),
            kind: self.dependency.kind.clone(),
            target: self.dependency.target.clone(),
            timeout: Some(self.dependency.settings.timeout),
            interval: Some(self.dependency.settings.interval()),
            required: is_required,
            status: current.status,
            reason: current.reason.or(shown.and_then(|last| last.reason)),
            message: shown.and_then(|last| last.message.clone()),
            duration: result.map(|last| last.duration),
            age: result.map(|last| since(last.started)),
            failing_for: result.and_then(|last| last.failing_since).map(since),
            last_up: result.and_then(|last| last.last_up_at).map(since),
            never_up: result.is_some_and(|last| last.last_up_at.is_none()),
            consecutive_failures: result.map_or(0, |last| last.failures),
            pending_for: current.pending_since.map(since),
            status_for: shown.and_then(|last| last.shown_since).map(since),
            observations: result
                .map(|last| last.observations.clone())
                .unwrap_or_default(),
            history: result.map(|last| last.history.clone()).unwrap_or_default(),
            excluded: None,
        }
    }
}

impl Current {
    /// When it was up or degraded, if it is and says so about the present.
    pub(super) fn served(&self) -> Option<(Instant, Instant)> {
        let result = self.result.as_ref()?;
        self.status.is_serving().then(|| result.held())
    }
}

/// A run that outlives its handle has nobody to tell.
impl Drop for DependencyState {
    fn drop(&mut self) {
        if let Some(run) = self.run().take() {
            run.abort();
        }
    }
}

/// Between two runs that watchers ask for, however short the lifetime of results.
#[cfg(feature = "grpc")]
pub(super) const MIN_PERIOD: std::time::Duration = std::time::Duration::from_millis(20);
