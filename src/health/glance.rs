//! The status of what a gRPC name stands for, as the report has it, without making one.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Health,
    evaluate::{Evaluation, is_needed_to_start},
    state::{DependencyState, LEAST_PERIOD, Outdated},
};
use crate::{
    dependency::Requirement,
    probe::Probe,
    report::{Reason, Status},
};

/// A watch looks at a status that depends on no run this often.
const LONGEST_VALIDITY: Duration = Duration::from_secs(1);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// A probe; a group among them is that of a mapped service.
    Probe(&'a Probe),
    Group(&'a str),
    Dependency(&'a str),
}

/// The status as it is known at one moment: that of the report, without making one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    pub(crate) status: Status,
    /// Nothing changes by time alone before then.
    pub(crate) holds_until: Instant,
}

impl Glance {
    /// Whether no run is due: asking would find the same.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        now < self.holds_until
    }
}

impl Health {
    /// The status of `subject` as known now; with `asks` a run starts where one is due.
    pub(crate) fn glance(&self, subject: Subject<'_>, now: Instant, asks: bool) -> Glance {
        let probe = subject.probe();
        let lifecycle = &self.shared().common.lifecycle;
        // Liveness and startup stay as they are: a prober that asks for them would kill the
        // app while it drains.
        let leaves = !matches!(*probe, Probe::Liveness | Probe::Startup);
        let mut glance = Glance {
            status: Status::Up,
            holds_until: now + LONGEST_VALIDITY,
        };
        if leaves && lifecycle.out_of_rotation().is_some() {
            // Runs go on: with `asks` those that are due start, without it the status does not hold.
            let asks = asks && !self.keep_refreshing();
            for state in self.states().iter().filter(|state| subject.covers(state)) {
                glance.holds_until = glance.holds_until.min(self.held_until(state, now, asks));
            }
            glance.status = Status::Down;
            return glance;
        }
        self.latch(now);
        if !matches!(subject, Subject::Dependency(_))
            && let Some((status, ..)) = self.lifecycle_of(&probe)
        {
            glance.status = status;
        }
        if *probe == Probe::Startup && self.is_started() {
            return glance;
        }
        let asks = asks && !self.keep_refreshing();
        if matches!(*probe, Probe::Group(_)) && !self.is_started() {
            // Until the app has started a group waits for what no other caller may check.
            for state in self
                .states()
                .iter()
                .filter(|state| is_needed_to_start(state))
            {
                glance.holds_until = glance.holds_until.min(self.held_until(state, now, asks));
            }
        }
        let mut is_missing = matches!(subject, Subject::Dependency(_));
        for state in self.states().iter().filter(|state| subject.covers(state)) {
            is_missing = false;
            let (mut status, mut holds_until) = self.glance_at(state, now, asks);
            if !status.is_serving() && !subject.requires(state, &probe) {
                status = Status::Degraded;
            }
            if asks && let Some(at) = state.last_start() {
                holds_until = holds_until.max(at + LEAST_PERIOD);
            }
            glance.status = glance.status.max(status);
            glance.holds_until = glance.holds_until.min(holds_until);
        }
        if is_missing {
            glance.status = Status::Unknown;
        }
        glance
    }

    /// Until when the status of `state` holds; with `asks` a run starts where one is due.
    fn held_until(&self, state: &Arc<DependencyState>, now: Instant, asks: bool) -> Instant {
        let (_, holds_until) = self.glance_at(state, now, asks);
        match state.last_start().filter(|_| asks) {
            Some(at) => holds_until.max(at + LEAST_PERIOD),
            None => holds_until,
        }
    }

    fn glance_at(
        &self,
        state: &Arc<DependencyState>,
        now: Instant,
        asks: bool,
    ) -> (Status, Instant) {
        if asks {
            state.join(now, |last| {
                last.is_fresh(now) || now < last.started + LEAST_PERIOD
            });
        } else if self.refresh_period().is_some() && !state.has_result() {
            // Not left to the first phase of the refresh.
            state.refresh(now);
        }
        let current = state.current(now, Outdated::Unknown(Reason::Pending, now));
        (current.status, current.valid_until)
    }

    /// Asks what `subject` covers; `None` for an unknown dependency.
    pub(crate) fn evaluate_target(&self, subject: Subject<'_>) -> Option<Evaluation> {
        match subject {
            Subject::Dependency(name) => self.evaluate_dependency(&Probe::Full, name),
            _ => Some(self.evaluate(&subject.probe())),
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

impl Subject<'_> {
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
