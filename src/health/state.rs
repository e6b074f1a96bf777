//! One dependency of a handle: its runs, its last result, and who is notified of it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{runtime::Handle, task::AbortHandle, time::Instant};

#[cfg(feature = "tracing")]
use super::run_span::{self, InSpan};
use super::{
    context::HealthContext,
    transition::{self, Transition},
};
#[cfg(feature = "metrics")]
use crate::metrics::check_metrics;
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

/// A dependency, its runs and its last result.
#[derive(Debug)]
pub(crate) struct DependencyState {
    pub(crate) dependency: Dependency,
    flight: Arc<SingleFlight<LastResult>>,
    context: Arc<HealthContext>,
    /// The run in flight, or the last one.
    run: Mutex<Option<AbortHandle>>,
    created_at: Instant,
    /// Whether the dependency has ever been up or degraded.
    has_been_serving: AtomicBool,
    /// Set once the dependency is removed: the results of its runs no longer count.
    retired: Arc<AtomicBool>,
}

/// How an evaluation treats an outdated result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outdated {
    /// It is shown with its age.
    Shown,
    /// The status is unknown for this reason, if the result was outdated at this time.
    Unknown(Reason, Instant),
}

/// The state of a dependency at one moment.
#[derive(Clone, Debug)]
pub(super) struct DependencySnapshot {
    pub(super) status: Status,
    /// Replaces the reason of the result.
    reason: Option<Reason>,
    pub(super) result: Option<Arc<LastResult>>,
    pending_since: Option<Instant>,
    /// Time alone changes nothing before then. Not after `now` if a run is due.
    pub(super) valid_until: Instant,
}

impl DependencyState {
    pub(super) fn new(dependency: Dependency, context: Arc<HealthContext>) -> Arc<Self> {
        Arc::new(Self {
            dependency,
            flight: Arc::new(SingleFlight::new()),
            context,
            run: Mutex::new(None),
            created_at: Instant::now(),
            has_been_serving: AtomicBool::new(false),
            retired: Arc::default(),
        })
    }

    /// Discards the results of the run in flight and of later runs.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.context.broadcaster.forget(&self.dependency.name);
    }

    /// Sets the gauges to `NaN`. Call after `retire`.
    pub(super) fn retire_metrics(&self) {
        #[cfg(feature = "metrics")]
        if let (Some(last), _) = self.flight.peek() {
            check_metrics::retire(&self.dependency, &last);
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether `probe` fails if the dependency is down now.
    pub(super) fn is_required(&self, probe: &Probe) -> bool {
        match self.dependency.requirement(probe) {
            Requirement::Required => true,
            Requirement::Optional => false,
            Requirement::RequiredUntilStarted => {
                !(self.context.lifecycle.is_started()
                    && self.has_been_serving.load(Ordering::Acquire))
            }
        }
    }

    /// Whether startup waits for the dependency.
    pub(super) fn is_needed_to_start(&self) -> bool {
        self.dependency.is_covered_by(&Probe::Startup) && self.is_required(&Probe::Startup)
    }

    /// Joins the run in flight or starts a run, unless the last result is `good`. Returns what to wait for.
    ///
    /// Outside a Tokio runtime with a timer no run starts.
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
                    // Each period is a failed run, so that the thresholds count it.
                    let published = self.flight.amend(|last| {
                        let is_due = last.is_none_or(|last| !last.is_fresh(now));
                        is_due.then(|| LastResult::stuck(last, active.since, now, settings))
                    });
                    if let Some(published) = published {
                        self.publish(&published, false, None);
                    }
                }
                None
            }
        }
    }

    /// As [`join`](Self::join), but with a background refresh there is nothing to wait for.
    pub(super) fn join_or_refresh(
        self: &Arc<Self>,
        now: Instant,
        good: impl Fn(&LastResult) -> bool,
    ) -> Option<Wait<LastResult>> {
        if self.dependency.settings.refresh_every.is_none() {
            return self.join(now, good);
        }
        if self.flight.peek().0.is_none() {
            // The first run does not wait for the first phase of the refresh.
            self.refresh(now);
        }
        None
    }

    /// When the next run is due; `None` before the first result.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.flight.peek().0.map(|last| last.fresh_until)
    }

    /// Starts a run for the background refresh.
    ///
    /// Does nothing while a run is in flight, or until an explicit cache lifetime has expired.
    pub(super) fn refresh(self: &Arc<Self>, now: Instant) {
        let settings = self.dependency.settings;
        self.join(now, |last| {
            settings.has_lifetime(last.found == Status::Down) && last.is_fresh(now)
        });
    }

    fn start(self: &Arc<Self>, permit: RunPermit<LastResult>) {
        // Weak: dropping the last handle ends the run, however long its timeout.
        let state = Arc::downgrade(self);
        let check = self.dependency.check.clone();
        #[cfg(feature = "tracing")]
        let span = run_span::open(&self.dependency);
        #[cfg(feature = "tracing")]
        let check = Arc::new(InSpan {
            check,
            span: span.clone(),
        });
        let settings = self.dependency.settings;
        let run = run::detach(check, settings, permit, move |published, cause| {
            #[cfg(feature = "tracing")]
            run_span::record(&span, &published.value);
            if let Some(state) = state.upgrade() {
                state.publish(published, true, cause);
            }
        });
        // A superseded run ends as soon as its runtime is driven again.
        if let Some(previous) = self.run().replace(run) {
            previous.abort();
        }
    }

    fn run(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the result of a completed run if `is_run`, or else a status that changed without one.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    fn publish(&self, published: &Published<LastResult>, is_run: bool, cause: Option<&str>) {
        if self.is_retired() {
            return;
        }
        if published.value.status.is_serving() {
            self.has_been_serving.store(true, Ordering::Release);
        }
        self.context.epoch.advance();
        #[cfg(feature = "metrics")]
        check_metrics::record(&self.dependency, &published.value, is_run);
        if self.is_retired() {
            // Retired in the meantime: the metrics recorded just now must not be the last.
            self.retire_metrics();
            return;
        }
        let is_required = self.is_required(&Probe::Readiness);
        let transition = Transition::of(&self.dependency, is_required, published, self.created_at);
        if let Some(transition) = transition {
            transition::log(&transition, published, cause);
            self.context.broadcaster.publish(transition, &self.retired);
        }
    }

    /// Returns the state at `now`. Starts no run.
    pub(super) fn current(&self, now: Instant, outdated: Outdated) -> DependencySnapshot {
        let (mut result, active) = self.flight.peek();
        let is_refreshed = self.dependency.settings.refresh_every.is_some();
        if is_refreshed
            && let Some(overdue) = &result
            && !overdue.is_usable(now)
            && overdue.reason != Some(Reason::Stale)
        {
            let published = self.flight.amend(|last| {
                let is_same = last.is_some_and(|last| last.ended == overdue.ended);
                is_same.then(|| overdue.stale(now))
            });
            if let Some(published) = published {
                self.publish(&published, false, None);
            }
            result = self.flight.peek().0;
        }
        let valid_until = |last: &LastResult| match is_refreshed {
            true => last.usable_until,
            false => last.fresh_until,
        };
        let valid_until = result.as_deref().map_or(now, valid_until);
        let is_due = valid_until <= now;
        let pending_since = active
            .filter(|active| active.is_stuck(now) || (is_due && !active.has_published))
            .map(|active| active.since);
        let (status, reason) = match (&result, outdated) {
            // Without a waiting caller a result counts for its cache lifetime only.
            (Some(last), Outdated::Unknown(reason, requested_at))
                if !is_refreshed
                    && (!last.is_usable(requested_at)
                        || reason == Reason::Stale && !last.is_fresh(requested_at)) =>
            {
                (Status::Unknown, Some(reason))
            }
            (Some(last), _) if last.status != Status::Unknown => (last.status, None),
            // Fewer runs have ended than a threshold requires.
            _ => (Status::Unknown, Some(Reason::Pending)),
        };
        DependencySnapshot {
            status,
            reason,
            result,
            pending_since,
            valid_until,
        }
    }

    /// The entry of a report.
    pub(super) fn entry(
        &self,
        current: &DependencySnapshot,
        is_required: bool,
        now: Instant,
    ) -> ReportEntry {
        let result = current.result.as_deref();
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_shown = current.reason.is_none();
        let shown = result.filter(|_| is_shown);
        ReportEntry {
            name: self.dependency.name.clone(),
            kind: self.dependency.kind.clone(),
            target: self.dependency.target.clone(),
            timeout: Some(self.dependency.settings.timeout),
            interval: Some(self.dependency.settings.period(false)),
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

impl DependencySnapshot {
    /// From when until when the status held, if it is up or degraded.
    pub(super) fn serving_span(&self) -> Option<(Instant, Instant)> {
        let result = self.result.as_ref()?;
        self.status.is_serving().then(|| result.held())
    }
}

impl Drop for DependencyState {
    fn drop(&mut self) {
        if let Some(run) = self.run().take() {
            run.abort();
        }
    }
}
