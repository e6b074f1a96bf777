//! The status of what a gRPC name stands for, as the report has it, without making one.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Health,
    evaluate::{Evaluation, is_needed_to_start},
    state::{DependencyState, MIN_PERIOD, Outdated},
};
use crate::{
    dependency::Requirement,
    probe::Probe,
    report::{Reason, Status},
};

/// A watch looks at a status that depends on no run this often.
const MAX_VALIDITY: Duration = Duration::from_secs(1);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusTarget<'a> {
    /// A probe; a group among them is that of a mapped service.
    Probe(&'a Probe),
    Group(&'a str),
    Dependency(&'a str),
}

/// The status as it is known at one moment: that of the report, without making one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentStatus {
    pub(crate) status: Status,
    /// Nothing changes by time alone before then.
    pub(crate) valid_until: Instant,
}

impl CurrentStatus {
    /// Whether no run is due: asking would find the same.
    pub(crate) fn is_valid(&self, now: Instant) -> bool {
        now < self.valid_until
    }
}

impl Health {
    /// The status of `target` as known now; with `starts_runs` a run starts where one is due.
    pub(crate) fn current_status(
        &self,
        target: StatusTarget<'_>,
        now: Instant,
        starts_runs: bool,
    ) -> CurrentStatus {
        let probe = target.probe();
        let lifecycle = &self.shared().common.lifecycle;
        // Liveness and startup stay as they are: a prober that starts_runs for them would kill the
        // app while it drains.
        let leaves = !matches!(*probe, Probe::Liveness | Probe::Startup);
        let mut current = CurrentStatus {
            status: Status::Up,
            valid_until: now + MAX_VALIDITY,
        };
        if leaves && lifecycle.out_of_rotation().is_some() {
            // Runs go on: with `starts_runs` those that are due start, without it the status does not hold.
            let starts_runs = starts_runs && !self.keep_refreshing();
            for state in self.states().iter().filter(|state| target.covers(state)) {
                current.valid_until =
                    current
                        .valid_until
                        .min(self.valid_until_of(state, now, starts_runs));
            }
            current.status = Status::Down;
            return current;
        }
        self.latch(now);
        if !matches!(target, StatusTarget::Dependency(_))
            && let Some((status, ..)) = self.lifecycle_of(&probe)
        {
            current.status = status;
        }
        if *probe == Probe::Startup && self.is_started() {
            return current;
        }
        let starts_runs = starts_runs && !self.keep_refreshing();
        if matches!(*probe, Probe::Group(_)) && !self.is_started() {
            // Until the app has started a group waits for what no other caller may check.
            for state in self
                .states()
                .iter()
                .filter(|state| is_needed_to_start(state))
            {
                current.valid_until =
                    current
                        .valid_until
                        .min(self.valid_until_of(state, now, starts_runs));
            }
        }
        let mut is_missing = matches!(target, StatusTarget::Dependency(_));
        for state in self.states().iter().filter(|state| target.covers(state)) {
            is_missing = false;
            let (mut status, mut valid_until) = self.status_of_state(state, now, starts_runs);
            if !status.is_serving() && !target.requires(state, &probe) {
                status = Status::Degraded;
            }
            if starts_runs && let Some(at) = state.last_start() {
                valid_until = valid_until.max(at + MIN_PERIOD);
            }
            current.status = current.status.max(status);
            current.valid_until = current.valid_until.min(valid_until);
        }
        if is_missing {
            current.status = Status::Unknown;
        }
        current
    }

    /// Until when the status of `state` holds; with `starts_runs` a run starts where one is due.
    fn valid_until_of(
        &self,
        state: &Arc<DependencyState>,
        now: Instant,
        starts_runs: bool,
    ) -> Instant {
        let (_, valid_until) = self.status_of_state(state, now, starts_runs);
        match state.last_start().filter(|_| starts_runs) {
            Some(at) => valid_until.max(at + MIN_PERIOD),
            None => valid_until,
        }
    }

    fn status_of_state(
        &self,
        state: &Arc<DependencyState>,
        now: Instant,
        starts_runs: bool,
    ) -> (Status, Instant) {
        if starts_runs {
            state.join(now, |last| {
                last.is_fresh(now) || now < last.started + MIN_PERIOD
            });
        } else if self.refresh_period().is_some() && !state.has_result() {
            // Not left to the first phase of the refresh.
            state.refresh(now);
        }
        let current = state.current(now, Outdated::Unknown(Reason::Pending, now));
        (current.status, current.valid_until)
    }

    /// Asks what `target` covers; `None` for an unknown dependency.
    pub(crate) fn evaluate_target(&self, target: StatusTarget<'_>) -> Option<Evaluation> {
        match target {
            StatusTarget::Dependency(name) => self.evaluate_dependency(&Probe::Full, name),
            _ => Some(self.evaluate(&target.probe())),
        }
    }

    /// Whether there is a dependency called `name`.
    pub(crate) fn has_dependency(&self, name: &str) -> bool {
        let states = self.states();
        states.iter().any(|state| &*state.dependency.name == name)
    }

    /// Every group, declared or with a member, once, and every dependency, in order of registration.
    pub(crate) fn names(&self) -> (Vec<String>, Vec<String>) {
        let states = self.states();
        let own = states.iter().flat_map(|state| &state.dependency.groups);
        let mut groups: Vec<String> = Vec::new();
        for group in self.shared().groups.iter().chain(own) {
            if !groups.iter().any(|other| other == group) {
                groups.push(group.as_ref().to_owned());
            }
        }
        let dependencies = states.iter().map(|state| state.dependency.name.to_string());
        (groups, dependencies.collect())
    }
}

impl StatusTarget<'_> {
    fn probe(&self) -> Cow<'_, Probe> {
        match self {
            Self::Probe(probe) => Cow::Borrowed(probe),
            Self::Group(name) => Cow::Owned(Probe::group((*name).to_owned())),
            Self::Dependency(_) => Cow::Owned(Probe::Full),
        }
    }

    fn covers(self, state: &DependencyState) -> bool {
        match self {
            Self::Probe(probe) => state.dependency.is_covered_by(probe),
            Self::Group(group) => state.dependency.groups.iter().any(|name| name == group),
            Self::Dependency(name) => &*state.dependency.name == name,
        }
    }

    fn requires(self, state: &DependencyState, probe: &Probe) -> bool {
        match self {
            // Requested by name, it is what it is.
            Self::Dependency(_) => true,
            // A mapped service cannot work without what was named for it.
            Self::Probe(Probe::Group(_))
                if state.dependency.requirement(probe) != Requirement::RequiredUntilStarted =>
            {
                !state.dependency.is_optional_for(probe)
            }
            Self::Probe(_) | Self::Group(_) => state.is_required(probe),
        }
    }
}
