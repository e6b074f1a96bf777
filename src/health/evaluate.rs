//! One evaluation: from the states of the dependencies to the status of a probe, or to its report.
//!
//! 1. The dependencies that the probe looks at are checked: runs that are due start, side by side.
//! 2. The caller waits for them until its deadline, or does not (a snapshot, a status for gRPC, an app out of rotation).
//! 3. Each state counts as the probe requires it; the worst counts.
//! 4. The lifecycle has the last word.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Health,
    state::{DependencyState, Outdated},
};
use crate::{
    bounds::MAX_DURATION,
    dependency::Dependency,
    monitor::{result::LastResult, run, single_flight::Wait},
    probe::Probe,
    report::{Excluded, Reason, Report, Rotation, Status},
};

/// What a run may need past its timeout to publish that.
const OVERTIME: Duration = Duration::from_millis(100);

/// One evaluation on behalf of one caller.
///
/// Dropping it gives up the caller's places and cancels no run.
#[derive(Debug)]
pub(crate) struct Evaluation {
    health: Health,
    probe: Probe,
    purpose: Purpose,
    /// The dependencies when it started_at.
    dependencies: Arc<Vec<Arc<DependencyState>>>,
    parts: Vec<Part>,
    started_at: Instant,
    deadline: Instant,
    /// Why an outdated result does not count; `None` if it does.
    outdated: Option<Reason>,
}

/// What the report is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Probe,
    /// One dependency, requested by its name.
    Dependency,
    /// An app that starts: what startup needs, under the lifecycle of readiness.
    Start,
}

#[derive(Debug)]
struct Part {
    state: Arc<DependencyState>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// Nothing to wait for.
    Done,
    Waiting(Wait<LastResult>),
    /// The caller left it out: it is not checked, and does not count.
    Excluded(Excluded),
}

/// What comes of an evaluation.
#[derive(Debug)]
pub(crate) struct EvaluatedReport {
    pub(crate) report: Report,
    /// The answer holds until then, while the epoch is this one.
    pub(crate) valid_until: Instant,
    pub(crate) epoch: u64,
}

impl Evaluation {
    /// Asks what `probe` looks at, without the dependencies that are `excluded`.
    pub(super) fn start(
        health: Health,
        probe: &Probe,
        excluded: impl Fn(&Dependency) -> Option<Excluded>,
    ) -> Self {
        let is_refreshed = health.keep_refreshing();
        // Such an app is unready whatever a run finds: due runs start, and the caller does not wait.
        let is_out = follows_lifecycle(probe)
            && health.shared().common.lifecycle.out_of_rotation().is_some();
        let outdated = if is_out {
            Reason::Stale
        } else {
            Reason::Pending
        };
        Self::of(health, probe, Some(outdated), |state, now| {
            if let Some(by) = excluded(&state.dependency) {
                return Progress::Excluded(by);
            }
            match join_or_refresh(state, now, is_refreshed) {
                Some(wait) if !is_out => Progress::Waiting(wait),
                _ => Progress::Done,
            }
        })
    }

    /// Takes what is known.
    pub(super) fn snapshot(health: Health, probe: &Probe) -> Self {
        Self::of(health, probe, None, |_, _| Progress::Done)
    }

    /// Asks one dependency.
    pub(super) fn of_dependency(
        health: Health,
        probe: &Probe,
        state: Arc<DependencyState>,
    ) -> Self {
        let now = Instant::now();
        let wait = join_or_refresh(&state, now, health.keep_refreshing());
        let progress = wait.map_or(Progress::Done, Progress::Waiting);
        Self {
            probe: probe.clone(),
            purpose: Purpose::Dependency,
            dependencies: health.states(),
            parts: vec![Part { state, progress }],
            started_at: now,
            deadline: health.deadline(now),
            outdated: Some(Reason::Pending),
            health,
        }
    }

    /// Asks what startup needs, until `deadline` at most and whatever the background refresh does.
    ///
    /// A result that is `good` is not requested again. The limit is each run's own timeout, and not
    /// that of a prober.
    pub(super) fn of_startup(
        health: Health,
        deadline: Instant,
        good: impl Fn(&LastResult, Instant) -> bool,
    ) -> Self {
        let now = Instant::now();
        let dependencies = health.states();
        let needed = dependencies
            .iter()
            .filter(|state| is_needed_to_start(state));
        let parts: Vec<_> = needed
            .map(|state| Part {
                state: state.clone(),
                progress: state
                    .join(now, |last| good(last, now))
                    .map_or(Progress::Done, Progress::Waiting),
            })
            .collect();
        let timeouts = parts.iter();
        let longest = timeouts
            .map(|part| part.state.dependency.settings.timeout)
            .max();
        Self {
            health,
            probe: Probe::Startup,
            purpose: Purpose::Start,
            dependencies,
            parts,
            started_at: now,
            deadline: deadline.min(now + longest.unwrap_or_default() + OVERTIME),
            outdated: Some(Reason::Pending),
        }
    }

    fn of(
        health: Health,
        probe: &Probe,
        outdated: Option<Reason>,
        progress: impl Fn(&Arc<DependencyState>, Instant) -> Progress,
    ) -> Self {
        let now = Instant::now();
        // Latched: nothing can change the answer any more, so nothing is checked.
        let is_latched = *probe == Probe::Startup && health.is_started();
        // Nobody else may ask what a group waits for until the app has started.
        let is_starting = matches!(probe, Probe::Group(_)) && !health.is_started();
        let dependencies = health.states();
        let mut parts: Vec<Part> = dependencies
            .iter()
            .filter(|state| {
                !is_latched && state.dependency.is_covered_by(probe)
                    || is_starting && is_needed_to_start(state)
            })
            .map(|state| Part {
                state: state.clone(),
                progress: progress(state, now),
            })
            .collect();
        // A filter promises no length, so room for four was made, which every waiter would keep.
        parts.shrink_to_fit();
        Self {
            deadline: health.deadline(now),
            health,
            probe: probe.clone(),
            purpose: Purpose::Probe,
            dependencies,
            parts,
            started_at: now,
            outdated,
        }
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_complete(&self) -> bool {
        !self
            .parts
            .iter()
            .any(|part| matches!(part.progress, Progress::Waiting(_)))
    }

    /// Waits for the runs under way, until the deadline.
    // Each local that lives across the wait is kept by every waiter.
    pub(crate) async fn wait(&mut self) {
        let (mut at, mut is_again) = (0, false);
        while at < self.parts.len() {
            // One after the other, all with the same deadline: the runs go side by side. Without a
            // runtime there is no run to wait for, and no clock that could end the wait.
            let has_ended = match &mut self.parts[at].progress {
                Progress::Waiting(wait) if run::is_possible() => {
                    timeout_at(self.deadline, wait).await.is_ok()
                }
                _ => false,
            };
            is_again = has_ended && !is_again && self.join_again(at);
            if !is_again {
                if let Progress::Waiting(_) = self.parts[at].progress {
                    self.parts[at].progress = Progress::Done;
                }
                at += 1;
            }
        }
    }

    /// Joins once more after a run without a result, as it ends when its runtime does.
    fn join_again(&mut self, at: usize) -> bool {
        let Part { state, progress } = &mut self.parts[at];
        let started_at = self.started_at;
        let Some(wait) = state.join(Instant::now(), |last| last.ended >= started_at) else {
            return false;
        };
        *progress = Progress::Waiting(wait);
        true
    }

    /// Makes the report of what is known now.
    pub(crate) fn report(&self) -> EvaluatedReport {
        // Read before the states: a result published meanwhile must spoil the answer, not slip past it.
        let epoch = self.health.epoch();
        let now = Instant::now();
        // One added since is missing here: the answer serves callers from before, and none after.
        let mut valid_until = if Arc::ptr_eq(&self.health.states(), &self.dependencies) {
            now + MAX_DURATION
        } else {
            now
        };
        self.health.latch(now);
        // A result that was good when the caller came stays good, however long it waits for another one.
        let outdated = match self.outdated {
            Some(reason) => Outdated::Unknown(reason, self.started_at),
            None => Outdated::Shown,
        };
        // Of an app that starts, the answer about a group depends on what is not in the group, too.
        for Part { state, .. } in &self.parts {
            valid_until = valid_until.min(state.current(now, outdated).valid_until);
        }
        let mut entries = Vec::with_capacity(self.parts.len());
        for Part { state, progress } in self.listed() {
            // Removed while the caller waited. If it requested this one alone, it still gets the result.
            if self.purpose != Purpose::Dependency && state.is_retired() {
                continue;
            }
            let current = state.current(now, outdated);
            let mut entry = state.entry(&current, state.is_required(&self.probe), now);
            if let Progress::Excluded(by) = progress {
                entry.excluded = Some(by.clone());
            }
            entries.push(entry);
        }
        let report = Report::of(entries, self.health.shared().info.clone());
        let mut report = self.with_lifecycle(report);
        report.rotation = self.rotation(&report);
        EvaluatedReport {
            report,
            valid_until,
            epoch,
        }
    }

    /// What the readiness probe answers, whatever `report` is about.
    fn rotation(&self, report: &Report) -> Rotation {
        let excludes = |part: &Part| matches!(part.progress, Progress::Excluded(_));
        let is_readiness = self.purpose == Purpose::Probe && self.probe == Probe::Readiness;
        if !is_readiness || self.parts.iter().any(excludes) {
            let readiness = Self::snapshot(self.health.clone(), &Probe::Readiness);
            return readiness.report().report.rotation;
        }
        if report.status.is_serving() {
            Rotation::In
        } else {
            Rotation::Out {
                reason: report.reason,
                message: report.message.clone(),
            }
        }
    }

    fn with_lifecycle(&self, report: Report) -> Report {
        let last_word = match self.purpose {
            Purpose::Probe => self.health.lifecycle_of(&self.probe),
            Purpose::Start => self.health.lifecycle_of(&Probe::Readiness),
            Purpose::Dependency => None,
        };
        match last_word {
            Some((status, reason, message)) => report.overruled(status, reason).saying(message),
            None => report,
        }
    }

    /// What the report is about: not what was checked only because the app starts.
    fn listed(&self) -> impl Iterator<Item = &Part> {
        let is_probe = self.purpose == Purpose::Probe;
        let covers =
            move |part: &&Part| !is_probe || part.state.dependency.is_covered_by(&self.probe);
        self.parts.iter().filter(covers)
    }

    /// Which of `names` are neither a dependency nor a group that was requested.
    pub(crate) fn unmatched(&self, names: &[String]) -> Vec<String> {
        let matches = |name: &String| {
            self.listed()
                .any(|part| excluded(&part.state.dependency, &[name]).is_some())
        };
        names
            .iter()
            .filter(|name| !matches(name))
            .cloned()
            .collect()
    }

    /// The groups of what was requested, each once.
    pub(crate) fn groups(&self) -> Vec<Cow<'static, str>> {
        let mut groups = Vec::new();
        for part in self.listed() {
            for group in &part.state.dependency.groups {
                if !groups.contains(group) {
                    groups.push(group.clone());
                }
            }
        }
        groups
    }

    /// Whether one dependency was requested by its name.
    pub(crate) fn is_single(&self) -> bool {
        self.purpose == Purpose::Dependency
    }
}

/// By what `dependency` is among `names`: its own name before its groups in their order.
pub(super) fn excluded(dependency: &Dependency, names: &[impl AsRef<str>]) -> Option<Excluded> {
    let named = |name: &str| names.iter().any(|other| other.as_ref() == name);
    if named(&dependency.name) {
        return Some(Excluded::ByName);
    }
    let mut groups = dependency.groups.iter();
    groups
        .find(|group| named(group))
        .map(|group| Excluded::WithGroup(group.clone()))
}

/// Asks `state`; one that is refreshed in the background is not waited for.
fn join_or_refresh(
    state: &Arc<DependencyState>,
    now: Instant,
    is_refreshed: bool,
) -> Option<Wait<LastResult>> {
    if is_refreshed {
        if !state.has_result() {
            // Not left to the first phase.
            state.refresh(now);
        }
        return None;
    }
    state.join(now, |last| last.is_fresh(now))
}

/// Whether `probe` has no use for an app that starts, drains or is in maintenance.
fn follows_lifecycle(probe: &Probe) -> bool {
    matches!(probe, Probe::Readiness | Probe::Group(_))
}

/// Whether startup waits for it.
pub(super) fn is_needed_to_start(state: &DependencyState) -> bool {
    state.dependency.is_covered_by(&Probe::Startup) && state.is_required(&Probe::Startup)
}

impl Health {
    /// What the lifecycle says to `probe`, whatever the dependencies are.
    pub(super) fn lifecycle_of(
        &self,
        probe: &Probe,
    ) -> Option<(Status, Reason, Option<Cow<'static, str>>)> {
        let follows = follows_lifecycle(probe);
        let lifecycle = &self.shared().common.lifecycle;
        if follows && let Some((reason, message)) = lifecycle.out_of_rotation() {
            return Some((Status::Down, reason, message));
        }
        // A misspelt group has no member that is down, either.
        if let Probe::Group(group) = probe
            && !self.has_group(group)
        {
            return Some((Status::Unknown, Reason::NotFound, None));
        }
        let waits = follows || *probe == Probe::Startup;
        (waits && !self.is_started()).then_some((Status::Unknown, Reason::Starting, None))
    }

    /// Remembers the first moment at which all that startup needs was up or degraded together.
    pub(super) fn latch(&self, now: Instant) {
        if self.shared().common.lifecycle.is_started() {
            return;
        }
        let states = self.states();
        let mut needed = states.iter().filter(|state| is_needed_to_start(state));
        let (mut from, mut until) = (None, None);
        let all_served = needed.all(|state| {
            let current = state.current(now, Outdated::Unknown(Reason::Pending, now));
            let Some((started, ended)) = current.served() else {
                return false;
            };
            from = from.max(Some(started));
            until = Some(until.map_or(ended, |until: Instant| until.min(ended)));
            from <= until
        });
        if all_served {
            self.set_started();
        }
    }
}
