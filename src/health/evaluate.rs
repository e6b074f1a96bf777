//! One evaluation: from the states of the dependencies to the status of a probe, or to its report.
//!
//! 1. The dependencies that the probe looks at are asked; runs that are due start, side by side.
//! 2. The caller waits for them until its deadline, or does not ([`Glance`], a snapshot, an app out of rotation).
//! 3. Each state counts as the probe requires it; the worst counts.
//! 4. The lifecycle has the last word.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Health,
    state::{DependencyState, Outdated},
};
use crate::{
    dependency::Dependency,
    monitor::{result::LastResult, run, single_flight::Wait},
    probe::Probe,
    report::{Excluded, Reason, Report, Status},
};

/// An answer that depends on no run is renewed this often all the same.
const LONGEST_VALIDITY: Duration = Duration::from_secs(1);
/// What a run may need past its timeout to publish that.
const OVERTIME: Duration = Duration::from_millis(100);

/// One evaluation on behalf of one caller.
///
/// Dropping it gives up the caller's places and cancels no run.
#[derive(Debug)]
pub(crate) struct Gathering {
    health: Health,
    probe: Probe,
    purpose: Purpose,
    /// The dependencies when it began.
    members: Arc<Vec<Arc<DependencyState>>>,
    parts: Vec<Part>,
    began: Instant,
    deadline: Instant,
    /// Why an outdated result does not count; `None` if it does.
    outdated: Option<Reason>,
}

/// What the report is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Probe,
    /// One dependency, asked for by its name.
    One,
    /// An app that starts: what startup needs, under the lifecycle of readiness.
    Start,
}

#[derive(Debug)]
struct Part {
    state: Arc<DependencyState>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Nothing to wait for.
    Known,
    Wait(Wait<LastResult>),
    /// The caller left it out: it is not asked, and does not count.
    Excluded(Excluded),
}

/// What comes of an evaluation.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) report: Report,
    /// The answer holds until then, while the epoch is this one.
    pub(crate) valid_until: Instant,
    pub(crate) epoch: u64,
}

impl Gathering {
    /// Asks what `probe` looks at, without the dependencies that are `excluded`.
    pub(super) fn ask(
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
                return Step::Excluded(by);
            }
            match ask(state, now, is_refreshed) {
                Some(wait) if !is_out => Step::Wait(wait),
                _ => Step::Known,
            }
        })
    }

    /// Takes what is known.
    pub(super) fn look(health: Health, probe: &Probe) -> Self {
        Self::of(health, probe, None, |_, _| Step::Known)
    }

    /// Asks one dependency.
    pub(super) fn ask_one(health: Health, probe: &Probe, state: Arc<DependencyState>) -> Self {
        let now = Instant::now();
        let wait = ask(&state, now, health.keep_refreshing());
        let step = wait.map_or(Step::Known, Step::Wait);
        Self {
            probe: probe.clone(),
            purpose: Purpose::One,
            members: health.states(),
            parts: vec![Part { state, step }],
            began: now,
            deadline: health.deadline(now),
            outdated: Some(Reason::Pending),
            health,
        }
    }

    /// Asks what startup needs, until `deadline` at most and whatever the background refresh does.
    ///
    /// A result that is `good` is not asked for anew. The limit is each run's own timeout, and not
    /// that of a prober.
    pub(super) fn ask_to_start(
        health: Health,
        deadline: Instant,
        good: impl Fn(&LastResult, Instant) -> bool,
    ) -> Self {
        let now = Instant::now();
        let members = health.states();
        let needed = members.iter().filter(|state| is_needed_to_start(state));
        let parts: Vec<_> = needed
            .map(|state| Part {
                state: state.clone(),
                step: state
                    .join(now, |last| good(last, now))
                    .map_or(Step::Known, Step::Wait),
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
            members,
            parts,
            began: now,
            deadline: deadline.min(now + longest.unwrap_or_default() + OVERTIME),
            outdated: Some(Reason::Pending),
        }
    }

    fn of(
        health: Health,
        probe: &Probe,
        outdated: Option<Reason>,
        step: impl Fn(&Arc<DependencyState>, Instant) -> Step,
    ) -> Self {
        let now = Instant::now();
        // Latched: nothing can change the answer any more, so nothing is asked.
        let is_latched = *probe == Probe::Startup && health.is_started();
        let members = health.states();
        let mut parts: Vec<Part> = members
            .iter()
            .filter(|state| !is_latched && state.dependency.is_covered_by(probe))
            .map(|state| Part {
                state: state.clone(),
                step: step(state, now),
            })
            .collect();
        // A filter promises no length, so room for four was made, which every waiter would keep.
        parts.shrink_to_fit();
        Self {
            deadline: health.deadline(now),
            health,
            probe: probe.clone(),
            purpose: Purpose::Probe,
            members,
            parts,
            began: now,
            outdated,
        }
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_settled(&self) -> bool {
        !self
            .parts
            .iter()
            .any(|part| matches!(part.step, Step::Wait(_)))
    }

    /// Waits for the runs under way, until the deadline.
    // Each local that lives across the wait is kept by every waiter.
    pub(crate) async fn settle(&mut self) {
        let (mut at, mut is_again) = (0, false);
        while at < self.parts.len() {
            // One after the other, all with the same deadline: the runs go side by side. Without a
            // runtime there is no run to wait for, and no clock that could end the wait.
            let has_ended = match &mut self.parts[at].step {
                Step::Wait(wait) if run::is_possible() => {
                    timeout_at(self.deadline, wait).await.is_ok()
                }
                _ => false,
            };
            is_again = has_ended && !is_again && self.join_again(at);
            if !is_again {
                if let Step::Wait(_) = self.parts[at].step {
                    self.parts[at].step = Step::Known;
                }
                at += 1;
            }
        }
    }

    /// Joins once more after a run without a result, as it ends when its runtime does.
    fn join_again(&mut self, at: usize) -> bool {
        let Part { state, step } = &mut self.parts[at];
        let began = self.began;
        let Some(wait) = state.join(Instant::now(), |last| last.ended >= began) else {
            return false;
        };
        *step = Step::Wait(wait);
        true
    }

    /// Waits until `deadline` at most.
    #[cfg(feature = "grpc")]
    pub(crate) fn hurry(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
    }

    /// Makes the report of what is known now.
    pub(crate) fn finish(&self) -> Answered {
        // Read before the states: a result published meanwhile must spoil the answer, not slip past it.
        let epoch = self.health.epoch();
        let now = Instant::now();
        // One added since is missing here: the answer serves callers from before, and none after.
        let mut valid_until = if Arc::ptr_eq(&self.health.states(), &self.members) {
            now + LONGEST_VALIDITY
        } else {
            now
        };
        self.health.latch(now);
        // A result that was good when the caller came stays good, however long it waits for another one.
        let outdated = match self.outdated {
            Some(reason) => Outdated::Unknown(reason, self.began),
            None => Outdated::Shown,
        };
        let mut entries = Vec::with_capacity(self.parts.len());
        for Part { state, step } in &self.parts {
            // Removed while the caller waited. If it asked for this one alone, it still gets the result.
            if self.purpose != Purpose::One && state.is_retired() {
                continue;
            }
            let current = state.current(now, outdated);
            valid_until = valid_until.min(current.valid_until);
            let mut entry = state.entry(&current, state.is_required(&self.probe), now);
            if let Step::Excluded(by) = step {
                entry.excluded = Some(by.clone());
            }
            entries.push(entry);
        }
        let report = Report::of(entries, self.health.shared().info.clone());
        Answered {
            report: self.with_lifecycle(report),
            valid_until,
            epoch,
        }
    }

    fn with_lifecycle(&self, report: Report) -> Report {
        let last_word = match self.purpose {
            Purpose::Probe => self.health.lifecycle_of(&self.probe),
            Purpose::Start => self.health.lifecycle_of(&Probe::Readiness),
            Purpose::One => None,
        };
        match last_word {
            Some((status, reason, message)) => report.overruled(status, reason).saying(message),
            None => report,
        }
    }

    /// Which of `names` are neither a dependency nor a group that was asked for.
    pub(crate) fn unmatched(&self, names: &[String]) -> Vec<String> {
        let matches = |name: &String| {
            self.parts
                .iter()
                .any(|part| excluded(&part.state.dependency, &[name]).is_some())
        };
        names
            .iter()
            .filter(|name| !matches(name))
            .cloned()
            .collect()
    }

    /// The groups of what was asked for, each once.
    pub(crate) fn groups(&self) -> Vec<Cow<'static, str>> {
        let mut groups = Vec::new();
        for part in &self.parts {
            for group in &part.state.dependency.groups {
                if !groups.contains(group) {
                    groups.push(group.clone());
                }
            }
        }
        groups
    }

    /// Whether one dependency was asked for by its name.
    pub(crate) fn is_for_one(&self) -> bool {
        self.purpose == Purpose::One
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
fn ask(state: &Arc<DependencyState>, now: Instant, is_refreshed: bool) -> Option<Wait<LastResult>> {
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
fn is_needed_to_start(state: &DependencyState) -> bool {
    state.dependency.is_covered_by(&Probe::Startup) && state.is_required(&Probe::Startup)
}

impl Health {
    /// What the lifecycle says to `probe`, whatever the dependencies are.
    fn lifecycle_of(&self, probe: &Probe) -> Option<(Status, Reason, Option<Cow<'static, str>>)> {
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
    fn latch(&self, now: Instant) {
        if self.is_started() {
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

#[cfg(feature = "grpc")]
mod glance {
    use super::{
        Arc, Cow, DependencyState, Gathering, Health, Instant, LONGEST_VALIDITY, Outdated, Probe,
        Reason, Status,
    };
    use crate::health::state::LEAST_PERIOD;

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
        pub(crate) fn gather_subject(&self, subject: Subject<'_>) -> Option<Gathering> {
            match subject {
                Subject::Dependency(name) => self.gather_one(&Probe::Full, name),
                _ => Some(self.gather(&subject.probe())),
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
                // Asked for by name, it is what it is.
                Self::Dependency(_) => true,
                // A mapped service cannot work without what was named for it.
                Self::Probe(Probe::Group(_)) => !state.dependency.is_optional_for(probe),
                Self::Probe(_) | Self::Group(_) => state.is_required(probe),
            }
        }
    }
}

#[cfg(feature = "grpc")]
pub(crate) use self::glance::Subject;

#[cfg(all(test, feature = "grpc"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::{Arc, Duration, Health, Probe, Subject};
    use crate::{
        check::{CheckResult, Outcome},
        dependency::Dependency,
        report::{Failure, Reason, Status},
    };

    fn result(status: Status) -> CheckResult {
        match status {
            Status::Up => Ok(Outcome::up()),
            Status::Degraded => Ok(Outcome::degraded(Reason::Saturated)),
            _ => Err(Failure::new(Reason::Refused)),
        }
    }

    fn health(needed: Status, optional: Status, aside: Status) -> Health {
        let dependency =
            |name, status| Dependency::new(name, move || async move { result(status) });
        Health::builder()
            .add(dependency("needed", needed).group("g"))
            .add(dependency("optional", optional).optional().group("g"))
            .add(dependency("aside", aside).exclude_from_readiness())
            .build()
    }

    /// All that a watcher is told comes from glances, all that others are told from reports.
    #[tokio::test(start_paused = true)]
    async fn a_glance_finds_the_status_of_the_report() {
        let statuses = [Status::Up, Status::Degraded, Status::Down];
        let combinations = statuses.into_iter().flat_map(|needed| {
            let pairs = statuses.map(|optional| statuses.map(|aside| (needed, optional, aside)));
            pairs.into_iter().flatten()
        });
        let probes = [
            Probe::Liveness,
            Probe::Readiness,
            Probe::Startup,
            Probe::Full,
            Probe::group("g"),
        ];
        for (needed, optional, aside) in combinations {
            let health = health(needed, optional, aside);
            for asked in [false, true] {
                if asked {
                    health.report().await;
                }
                for probe in &probes {
                    let subject = match probe {
                        // As a probe it would be that of a mapped service.
                        Probe::Group(name) => Subject::Group(name),
                        probe => Subject::Probe(probe),
                    };
                    let glance = health.glance(subject, Instant::now(), false);
                    let report = health.snapshot_for(probe);
                    assert_eq!(
                        glance.status, report.status,
                        "{needed} {optional} {aside} {asked} {probe:?}"
                    );
                }
            }
            health.set_draining(true);
            let readiness = Subject::Probe(&Probe::Readiness);
            let glance = health.glance(readiness, Instant::now(), false);
            assert_eq!(glance.status, Status::Down);
            let group = Subject::Group("g");
            assert_eq!(
                health.glance(group, Instant::now(), false).status,
                Status::Down
            );
        }
    }

    /// A mapped service cannot work without its members; the group by its own name is as over HTTP.
    #[tokio::test(start_paused = true)]
    async fn members_are_required_for_a_mapped_service() {
        let member = |name, status: Status| {
            let check = move || async move { result(status) };
            Dependency::new(name, check).optional().group("orders")
        };
        let (orders, search) = (Probe::group("orders"), Probe::group("search"));
        let health = Health::builder()
            .add(member("ledger", Status::Down))
            .add(Dependency::new("index", async || Ok(Outcome::up())).group("search"))
            .add(
                member("cache", Status::Down)
                    .group("search")
                    .optional_for(Probe::group("search")),
            )
            .map_grpc_service("shop.v1.Orders", orders.clone())
            .map_grpc_service("shop.v1.Search", search.clone())
            .build();
        health.report().await;
        let status = |subject| health.glance(subject, Instant::now(), false).status;
        assert_eq!(status(Subject::Probe(&orders)), Status::Down);
        assert_eq!(status(Subject::Probe(&search)), Status::Degraded);
        assert_eq!(status(Subject::Group("orders")), Status::Degraded);
        assert_eq!(health.snapshot_for(&orders).status, Status::Degraded);
        assert_eq!(status(Subject::Probe(&Probe::Readiness)), Status::Degraded);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_there_is_not_up() {
        let up = async || Ok(Outcome::up());
        let health = Health::builder()
            .add(Dependency::new("orders", up).group("shop"))
            .check("other", up)
            .build();
        health.report().await;
        let status = |subject| health.glance(subject, Instant::now(), false).status;
        let shop = Probe::group("shop");
        assert_eq!(status(Subject::Probe(&shop)), Status::Up);
        assert!(health.remove("orders"));
        for subject in [
            Subject::Probe(&shop),
            Subject::Group("shop"),
            Subject::Dependency("orders"),
        ] {
            assert_eq!(status(subject), Status::Unknown, "{subject:?}");
        }
        assert_eq!(health.snapshot_for(&shop).status, Status::Unknown);
        assert_eq!(status(Subject::Probe(&Probe::Readiness)), Status::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn who_watches_what_serves_for_no_time_starts_fifty_runs_a_second_at_most() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(Outcome::up()) }
        };
        let health = Health::builder()
            .add(Dependency::new("a", check).cache_for(Duration::ZERO))
            .build();
        for _ in 0..1_000 {
            let glance = health.glance(Subject::Probe(&Probe::Full), Instant::now(), true);
            assert!(glance.status <= Status::Unknown);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let runs = runs.load(Ordering::SeqCst);
        assert!((40..=50).contains(&runs), "{runs}");
    }
}
