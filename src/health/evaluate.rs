//! One evaluation: from the states of the dependencies to the report of a probe.
//!
//! 1. The dependencies that the probe covers are checked: runs that are due start, all at the same time.
//! 2. The caller waits for the runs until its deadline. It does not wait for a snapshot, with a background refresh,
//!    or while the app is out of rotation.
//! 3. Each dependency counts as the probe requires it; the worst status counts.
//! 4. The lifecycle can replace the overall status.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Health,
    lifecycle::follows_lifecycle,
    state::{DependencyState, Outdated},
};
use crate::{
    bounds::MAX_DURATION,
    dependency::Dependency,
    monitor::{result::LastResult, run, single_flight::Wait},
    probe::Probe,
    report::{Excluded, Reason, Report},
};

/// How long after its timeout a run may publish its result.
pub(super) const PUBLISH_ALLOWANCE: Duration = Duration::from_millis(100);

impl Health {
    /// Returns the report of all dependencies. May start runs, and waits for them.
    ///
    /// The longest wait is [`answer_within`](crate::HealthBuilder::answer_within), 900 ms by default. Dropping the
    /// future cancels no run.
    pub async fn report(&self) -> Report {
        self.report_for(&Probe::Full).await
    }

    /// Returns the report for `probe`. May start runs, and waits for them as [`report`](Self::report) does.
    ///
    /// Exception: while the app drains or is in maintenance, a report for readiness or a group does not wait for
    /// the runs that it starts. A result that has expired by then is unknown, with reason `stale`.
    pub async fn report_for(&self, probe: &Probe) -> Report {
        let mut evaluation = self.evaluate(probe, &[]);
        evaluation.wait().await;
        evaluation.report().report
    }

    /// Returns the last known state of all dependencies. Starts no run and never waits.
    pub fn snapshot(&self) -> Report {
        self.snapshot_for(&Probe::Full)
    }

    /// Returns the last known state for `probe`. Starts no run and never waits.
    pub fn snapshot_for(&self, probe: &Probe) -> Report {
        let mut evaluation = Evaluation::covering(self, probe, &[], |_, _| None);
        evaluation.outdated = Outdated::Shown;
        evaluation.report().report
    }

    /// Evaluates what `probe` covers, without the dependencies and groups called `names`. Runs that are due start.
    pub(crate) fn evaluate(&self, probe: &Probe, names: &[String]) -> Evaluation {
        self.shared.keep_refreshing();
        // Out of rotation the answer is 503 whatever a run finds: runs start, and the caller does not wait.
        let is_out = follows_lifecycle(probe) && self.is_out_of_rotation();
        let mut evaluation = Evaluation::covering(self, probe, names, |state, now| {
            let wait = state.join_or_refresh(now, |last| last.is_fresh(now));
            wait.filter(|_| !is_out)
        });
        if is_out {
            evaluation.outdated = Outdated::Unknown(Reason::Stale, evaluation.started_at);
        }
        evaluation
    }

    /// Evaluates the dependency called `name`; `None` if `probe` does not cover it.
    pub(crate) fn evaluate_dependency(&self, probe: &Probe, name: &str) -> Option<Evaluation> {
        self.shared.keep_refreshing();
        let is_named = |state: &DependencyState| {
            &*state.dependency.name == name && state.dependency.is_covered_by(probe)
        };
        let join = |state: &Arc<DependencyState>, now| {
            state.join_or_refresh(now, |last| last.is_fresh(now))
        };
        let evaluation = Evaluation::new(self, probe, Purpose::Dependency, is_named, &[], join);
        (!evaluation.parts.is_empty()).then_some(evaluation)
    }
}

/// One evaluation for one caller.
///
/// Dropping it gives up the caller's places in the queues and cancels no run.
#[derive(Debug)]
pub(crate) struct Evaluation {
    health: Health,
    probe: Probe,
    purpose: Purpose,
    /// All dependencies of the handle at the start.
    dependencies: Arc<Vec<Arc<DependencyState>>>,
    parts: Vec<Part>,
    started_at: Instant,
    deadline: Instant,
    outdated: Outdated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Probe,
    /// One dependency, requested by its name.
    Dependency,
    /// An app that waits for its start. Covers what startup needs, and follows the lifecycle of readiness.
    Start,
}

/// A dependency that takes part.
#[derive(Debug)]
struct Part {
    state: Arc<DependencyState>,
    /// `None` if there is nothing to wait for.
    wait: Option<Wait<LastResult>>,
    /// If the request excludes it: it is not checked, and does not count.
    // A box, because each waiter keeps the space.
    excluded: Option<Box<Excluded>>,
}

/// A report, and how long it is valid.
#[derive(Debug)]
pub(crate) struct EvaluatedReport {
    pub(crate) report: Report,
    /// The report is valid until then, while the epoch is `epoch`.
    pub(crate) valid_until: Instant,
    pub(crate) epoch: u64,
}

impl Evaluation {
    /// What startup needs, until `deadline` at most; with a background refresh, too, runs start.
    ///
    /// A result that is `good` starts no run. The wait is limited by the timeouts of the runs, and not by
    /// `answer_within`.
    pub(super) fn of_startup(
        health: &Health,
        deadline: Instant,
        good: impl Fn(&LastResult, Instant) -> bool,
    ) -> Self {
        let join = |state: &Arc<DependencyState>, now| state.join(now, |last| good(last, now));
        let needed = DependencyState::is_needed_to_start;
        let mut evaluation = Self::new(health, &Probe::Startup, Purpose::Start, needed, &[], join);
        let timeouts = evaluation.parts.iter();
        let timeouts = timeouts.map(|part| part.state.dependency.settings.timeout);
        let longest = timeouts.max().unwrap_or_default();
        let last_result_at = evaluation.started_at + longest + PUBLISH_ALLOWANCE;
        evaluation.deadline = deadline.min(last_result_at);
        evaluation
    }

    /// What `probe` covers now, without the dependencies and groups called `names`.
    fn covering(
        health: &Health,
        probe: &Probe,
        names: &[String],
        join: impl Fn(&Arc<DependencyState>, Instant) -> Option<Wait<LastResult>>,
    ) -> Self {
        // Startup is latched: no result can change the answer, so nothing is checked.
        let is_latched = *probe == Probe::Startup && health.is_started();
        // A group also waits for the start of the app, and no other caller may check what that needs.
        let waits_for_start = matches!(probe, Probe::Group(_)) && !health.is_started();
        let covers = |state: &DependencyState| {
            !is_latched && state.dependency.is_covered_by(probe)
                || waits_for_start && state.is_needed_to_start()
        };
        Self::new(health, probe, Purpose::Probe, covers, names, join)
    }

    fn new(
        health: &Health,
        probe: &Probe,
        purpose: Purpose,
        covers: impl Fn(&DependencyState) -> bool,
        excluded_names: &[String],
        join: impl Fn(&Arc<DependencyState>, Instant) -> Option<Wait<LastResult>>,
    ) -> Self {
        let now = Instant::now();
        let dependencies = health.states();
        let covered = dependencies.iter().filter(|state| covers(state));
        let mut parts: Vec<Part> = covered
            .map(|state| {
                let excluded = excluded(&state.dependency, excluded_names);
                Part {
                    state: state.clone(),
                    wait: excluded.is_none().then(|| join(state, now)).flatten(),
                    excluded: excluded.map(Box::new),
                }
            })
            .collect();
        // A filter has no exact length, so there is space for four. Each waiter would keep that memory.
        parts.shrink_to_fit();
        Self {
            health: health.clone(),
            probe: probe.clone(),
            purpose,
            dependencies,
            parts,
            started_at: now,
            deadline: health.deadline(now),
            outdated: Outdated::Unknown(Reason::Pending, now),
        }
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_complete(&self) -> bool {
        self.parts.iter().all(|part| part.wait.is_none())
    }

    /// Waits for the runs in flight, until the deadline.
    // Each waiter keeps the locals that live across the await.
    pub(crate) async fn wait(&mut self) {
        let (mut at, mut is_again) = (0, false);
        while at < self.parts.len() {
            // One after the other, all with the same deadline: the runs are concurrent. Outside a runtime
            // neither a run nor a clock could end the wait.
            let has_ended = match &mut self.parts[at].wait {
                Some(wait) if run::is_possible() => timeout_at(self.deadline, wait).await.is_ok(),
                _ => false,
            };
            let Part { state, wait, .. } = &mut self.parts[at];
            *wait = None;
            if has_ended && !is_again {
                // A run ends without a result when its runtime shuts down.
                let started_at = self.started_at;
                *wait = state.join(Instant::now(), |last| last.ended >= started_at);
            }
            is_again = wait.is_some();
            at += usize::from(!is_again);
        }
    }

    /// Makes the report of what is known now.
    pub(crate) fn report(&self) -> EvaluatedReport {
        // Read before the states: a result published in the meantime must make this report invalid.
        let epoch = self.health.epoch();
        let now = Instant::now();
        // A dependency added since the start is missing here: later callers must not get this report.
        let mut valid_until = if Arc::ptr_eq(&self.health.states(), &self.dependencies) {
            now + MAX_DURATION
        } else {
            now
        };
        self.health.latch(now);
        let mut entries = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let state = &part.state;
            // A result that was valid when the caller came stays valid while the caller waits for others.
            let current = state.current(now, self.outdated);
            // Before the start, the answer about a group depends on dependencies outside the group too.
            valid_until = valid_until.min(current.valid_until);
            // Removed while the caller waited. A caller that requested this name still gets the result.
            let is_removed = !self.is_single() && state.is_retired();
            if self.lists(part) && !is_removed {
                let mut entry = state.entry(&current, state.is_required(&self.probe), now);
                entry.excluded = part.excluded.as_deref().cloned();
                entries.push(entry);
            }
        }
        let report = Report::new(entries, self.health.shared.info.clone());
        let lifecycle = match self.purpose {
            Purpose::Probe => self.health.lifecycle_status(&self.probe),
            Purpose::Start => self.health.lifecycle_status(&Probe::Readiness),
            Purpose::Dependency => None,
        };
        EvaluatedReport {
            report: match lifecycle {
                Some((status, reason, message)) => report.with_lifecycle(status, reason, message),
                None => report,
            },
            valid_until,
            epoch,
        }
    }

    /// Whether the report shows `part`: not if it was checked only because the app starts.
    fn lists(&self, part: &Part) -> bool {
        self.purpose != Purpose::Probe || part.state.dependency.is_covered_by(&self.probe)
    }

    fn listed(&self) -> impl Iterator<Item = &Dependency> {
        let listed = self.parts.iter().filter(|part| self.lists(part));
        listed.map(|part| &part.state.dependency)
    }

    /// Those of `names` that are neither a dependency nor a group of the report.
    pub(crate) fn unmatched(&self, names: &[String]) -> Vec<String> {
        let matches = |name: &String| {
            self.listed()
                .any(|dependency| excluded(dependency, &[name]).is_some())
        };
        let unmatched = names.iter().filter(|name| !matches(name));
        unmatched.cloned().collect()
    }

    /// The groups of the dependencies of the report, each once.
    pub(crate) fn groups(&self) -> Vec<Cow<'static, str>> {
        let mut groups = Vec::new();
        for group in self.listed().flat_map(|dependency| &dependency.groups) {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// Whether one dependency was requested by its name.
    pub(crate) fn is_single(&self) -> bool {
        self.purpose == Purpose::Dependency
    }
}

/// How `names` exclude `dependency`: by its name, or else by the first of its groups that they have.
fn excluded(dependency: &Dependency, names: &[impl AsRef<str>]) -> Option<Excluded> {
    let is_named = |name: &str| names.iter().any(|other| other.as_ref() == name);
    if is_named(&dependency.name) {
        return Some(Excluded::ByName);
    }
    let mut groups = dependency.groups.iter();
    let group = groups.find(|group| is_named(group))?;
    Some(Excluded::WithGroup(group.clone()))
}
