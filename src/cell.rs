//! One dependency with its verdict: fresh, or somebody runs. Here, and here alone, a run meets those who
//! hear of its verdict.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::{Duration, Instant};

use crate::{
    dependency::Dependency,
    engine::{
        flight::{Flight, Joined, Published, Run, Wait},
        run,
        verdict::Verdict,
    },
    epoch::Epoch,
    metrics::CheckNumbers,
    report::{Reason, ReportEntry, Status},
    subscribe::{Hub, Transition},
    transition,
};

/// How long a run that was told to stop may take to go before it is called stuck.
const GRACE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) dependency: Dependency,
    flight: Arc<Flight<Verdict>>,
    epoch: Arc<Epoch>,
    /// Weak: a run that outlives the handle must not keep its listeners.
    hub: Weak<Hub>,
    made: Instant,
    /// Its dependency was removed: what its last run still says is of no account.
    retired: AtomicBool,
    numbers: CheckNumbers,
}

/// What a cell says at once.
#[derive(Debug)]
pub(crate) enum Ask {
    /// This is it.
    Now(Seen),
    /// A run has been under way since then.
    Wait(Wait<Verdict>, Instant),
}

/// A verdict as it is seen at one moment.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It counts.
    Counts(Arc<Verdict>),
    /// A run has been under way since then; the last verdict, if there is one.
    Pending(Option<Arc<Verdict>>, Instant),
    /// The last run could not be cancelled.
    Stuck(Arc<Verdict>),
    /// It is so old that its background refresh must be dead.
    Stale(Arc<Verdict>),
    /// Nobody has asked yet.
    Unknown,
}

impl Cell {
    pub(crate) fn new(dependency: Dependency, epoch: Arc<Epoch>, hub: Weak<Hub>) -> Arc<Self> {
        Arc::new(Self {
            dependency,
            flight: Arc::new(Flight::new()),
            epoch,
            hub,
            made: Instant::now(),
            retired: AtomicBool::new(false),
            numbers: CheckNumbers::new(),
        })
    }

    /// From now on no run of it is heard. One under way ends by itself, within its timeout.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        if let Some(hub) = self.hub.upgrade() {
            hub.forget(&self.dependency.name);
        }
    }

    /// Its numbers say from now on that it is gone; after `retire`.
    pub(crate) fn close_numbers(&self) {
        if let (Some(last), _) = self.flight.peek() {
            self.numbers.retire(&self.dependency, &last);
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Asks for a fresh verdict, and starts a run where it takes one.
    pub(crate) fn ask(self: &Arc<Self>, now: Instant) -> Ask {
        self.ask_unless(now, |last| last.is_fresh(now))
    }

    /// The same where the last verdict will do when it is `good`.
    pub(crate) fn ask_unless(
        self: &Arc<Self>,
        now: Instant,
        good: impl FnOnce(&Verdict) -> bool,
    ) -> Ask {
        match self.flight.join(now, good) {
            Joined::Ready(last) => Ask::Now(Seen::Counts(last)),
            Joined::Started(run, wait) => {
                self.detach(run, now);
                Ask::Wait(wait, now)
            }
            Joined::Waiting(wait, since) => Ask::Wait(wait, since),
            Joined::Overrun(last) => Ask::Now(seen(last, true, now)),
            Joined::Full(last, since) => Ask::Now(Seen::Pending(last, since)),
        }
    }

    /// Starts a run, however fresh the verdict is, unless one is under way or it backs off.
    pub(crate) fn refresh(self: &Arc<Self>, now: Instant) {
        let rests = |last: &Verdict| last.is_backing_off(now);
        if let Joined::Started(run, _) = self.flight.join(now, rests) {
            self.detach(run, now);
        }
    }

    fn detach(self: &Arc<Self>, run: Run<Verdict>, now: Instant) {
        let cell = self.clone();
        run::detach(&self.dependency, run, now, move |published, cause| {
            cell.published(published, cause);
        });
    }

    /// What is known without a run.
    pub(crate) fn look(&self, now: Instant) -> Seen {
        let (last, overrun) = self.flight.peek();
        seen(last, overrun, now)
    }

    fn published(&self, published: &Published<Verdict>, cause: Option<&str>) {
        if self.is_retired() {
            return;
        }
        self.epoch.advance();
        self.numbers.record(&self.dependency, &published.value);
        if self.is_retired() {
            // Meanwhile: the number just recorded must not be the last.
            self.numbers.retire(&self.dependency, &published.value);
            return;
        }
        transition::observe(&self.dependency, published, cause);
        if let Some(transition) = Transition::of(&self.dependency, published, self.made)
            && let Some(hub) = self.hub.upgrade()
        {
            hub.tell(transition, || !self.is_retired());
        }
    }

    /// The entry that stands in a report.
    pub(crate) fn entry(&self, seen: &Seen, now: Instant) -> ReportEntry {
        let settings = &self.dependency.settings;
        let (verdict, pending_since) = match seen {
            Seen::Counts(verdict) | Seen::Stale(verdict) => (Some(&**verdict), None),
            Seen::Stuck(verdict) => (Some(&**verdict), Some(verdict.started)),
            Seen::Pending(verdict, since) => (verdict.as_deref(), Some(*since)),
            Seen::Unknown => (None, None),
        };
        let mut entry = self.entry_of(verdict, now);
        entry.pending_for = pending_since.map(|since| now.saturating_duration_since(since));
        match seen {
            Seen::Stuck(_) => {
                entry.status = Status::Down;
                entry.status_for = None;
                entry.reason = Some(Reason::Stuck);
                entry.message = Some("the run past its deadline cannot be cancelled".into());
            }
            Seen::Stale(_) => {
                entry.status = Status::Down;
                entry.status_for = None;
                entry.reason = Some(Reason::Stale);
                entry.message = Some("nothing has refreshed the verdict for long".into());
            }
            Seen::Pending(Some(last), _) if last.is_usable(settings, now) => {}
            Seen::Pending(..) | Seen::Unknown => {
                entry.status = Status::Unknown;
                entry.status_for = None;
                entry.reason = Some(Reason::Pending);
                entry.message = None;
            }
            Seen::Counts(_) => {}
        }
        entry
    }

    fn entry_of(&self, verdict: Option<&Verdict>, now: Instant) -> ReportEntry {
        ReportEntry {
            name: self.dependency.name.clone(),
            kind: self.dependency.kind.clone(),
            target: self.dependency.target.clone(),
            timeout: Some(self.dependency.settings.timeout),
            interval: Some(self.dependency.settings.cache_for),
            required: self.dependency.required,
            status: verdict.map_or(Status::Unknown, |verdict| verdict.status),
            reason: verdict.and_then(|verdict| verdict.reason),
            message: verdict.and_then(|verdict| verdict.message.clone()),
            duration: verdict.map(|verdict| verdict.duration),
            age: verdict.map(|verdict| now.saturating_duration_since(verdict.started)),
            failing_for: verdict
                .and_then(|verdict| verdict.failing_since)
                .map(|since| now.saturating_duration_since(since)),
            last_up: verdict
                .and_then(|verdict| verdict.last_up_at)
                .map(|at| now.saturating_duration_since(at)),
            never_up: verdict.is_some_and(|verdict| verdict.last_up_at.is_none()),
            consecutive_failures: verdict.map_or(0, |verdict| verdict.failures),
            pending_for: None,
            status_for: verdict
                .and_then(|verdict| verdict.shown_since)
                .map(|since| now.saturating_duration_since(since)),
            observations: verdict
                .map(|verdict| verdict.observations.clone())
                .unwrap_or_default(),
            history: verdict
                .map(|verdict| verdict.history.clone())
                .unwrap_or_default(),
            excluded: None,
        }
    }
}

fn seen(last: Option<Arc<Verdict>>, overrun: bool, now: Instant) -> Seen {
    match last {
        None => Seen::Unknown,
        Some(last) if overrun && is_overdue(&last, now) => Seen::Stuck(last),
        Some(last) => Seen::Counts(last),
    }
}

/// An ordinary run is in overrun, too, for the instant between its last word and its end.
fn is_overdue(last: &Verdict, now: Instant) -> bool {
    !last.is_fresh(now) && now.saturating_duration_since(last.started + last.duration) > GRACE
}
