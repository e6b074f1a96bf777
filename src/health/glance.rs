use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::{Gathering, Health};
use crate::{
    cell::{Ask, Cell, Seen},
    engine::verdict::Verdict,
    probe::Probe,
    report::Status,
};

/// What depends on no run is looked at this often all the same.
const MAX_DURATION: Duration = Duration::from_secs(1);

/// Whoever watches starts runs no closer together, however short a time verdicts serve.
const LEAST_PERIOD: Duration = Duration::from_millis(20);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    Probe(&'a Probe),
    Group(&'a str),
    Dependency(&'a str),
}

/// The status as it is known at one moment. The same as the report's, found without making one.
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

    fn of(status: Status, holds_until: Instant) -> Self {
        Self {
            status,
            holds_until,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            status: self.status.max(other.status),
            holds_until: self.holds_until.min(other.holds_until),
        }
    }
}

impl Health {
    /// The status of `subject` as known now; with `asks` a run starts where one is due.
    pub(crate) fn glance(&self, subject: Subject<'_>, now: Instant, asks: bool) -> Glance {
        let mut glance = Glance::of(Status::Up, now + MAX_DURATION);
        if subject.leaves_rotation() && self.shared().lifecycle.out_of_rotation().is_some() {
            glance.status = Status::Down;
            return glance;
        }
        if let Subject::Probe(Probe::Readiness | Probe::Startup) = subject {
            if !self.is_started() {
                // Whatever makes a report remembers the first moment at which all serve.
                drop(Gathering::look(self.clone(), &Probe::Readiness).finish());
            }
            if !self.is_started() {
                glance.status = Status::Unknown;
            } else if subject == Subject::Probe(&Probe::Startup) {
                return glance;
            }
        }
        let asks = asks && !self.keep_refreshing();
        let cells = self.cells();
        let mut parts = cells.iter().filter(|cell| subject.covers(cell)).peekable();
        if parts.peek().is_none() && subject.is_missing(self) {
            glance.status = Status::Unknown;
        }
        for cell in parts {
            let mut part = self.glance_at(cell, now, asks);
            // Asked for by name, it is what it is.
            let counted = cell.dependency.required || matches!(subject, Subject::Dependency(_));
            if !counted && !part.status.is_serving() {
                part.status = Status::Degraded;
            }
            glance = glance.and(part);
        }
        glance
    }

    fn glance_at(&self, cell: &Arc<Cell>, now: Instant, asks: bool) -> Glance {
        let rests = |last: &Verdict| last.is_fresh(now) || now < last.started + LEAST_PERIOD;
        let seen = match asks.then(|| cell.ask_unless(now, rests)) {
            Some(Ask::Now(seen @ Seen::Counts(_))) => seen,
            // Its end moves the epoch.
            _ => cell.look(now),
        };
        match seen {
            Seen::Counts(last) if asks => {
                let mut glance = self.glance_at_verdict(cell, &last, now);
                glance.holds_until = glance.holds_until.max(last.started + LEAST_PERIOD);
                glance
            }
            Seen::Counts(last) => self.glance_at_verdict(cell, &last, now),
            Seen::Stuck(_) | Seen::Stale(_) => Glance::of(Status::Down, now),
            Seen::Pending(..) | Seen::Unknown => {
                if self.keep_refreshing() {
                    // Not left to the first phase of the refresh.
                    cell.refresh(now);
                }
                Glance::of(Status::Unknown, now)
            }
        }
    }

    fn glance_at_verdict(&self, cell: &Cell, last: &Verdict, now: Instant) -> Glance {
        let settings = &cell.dependency.settings;
        let until = self.counts_until(cell, last);
        match self.refresh_period() {
            Some(_) if now > until => Glance::of(Status::Down, now),
            Some(_) => Glance::of(last.status, until),
            None if last.is_fresh(now) || last.is_usable(settings, now) => {
                Glance::of(last.status, until)
            }
            None => Glance::of(Status::Unknown, now),
        }
    }

    /// Asks what `subject` covers; `None` for a dependency that there is not.
    pub(crate) fn gather_subject(&self, subject: Subject<'_>) -> Option<Gathering> {
        match subject {
            Subject::Probe(probe) => Some(self.gather(probe)),
            Subject::Group(name) => Some(self.gather(&Probe::group(name.to_owned()))),
            Subject::Dependency(name) => self.gather_one(&Probe::Full, name),
        }
    }

    /// Whether there is a dependency called `name`.
    pub(crate) fn has_dependency(&self, name: &str) -> bool {
        let cells = self.cells();
        cells.iter().any(|cell| &*cell.dependency.name == name)
    }

    /// Every group, declared or with a member, once, and every dependency, in order of registration.
    pub(crate) fn names(&self) -> (Vec<String>, Vec<String>) {
        let cells = self.cells();
        let own = cells.iter().flat_map(|cell| &cell.dependency.groups);
        let mut groups: Vec<String> = Vec::new();
        for group in self.shared().groups.iter().chain(own) {
            if !groups.iter().any(|other| other == group) {
                groups.push(group.as_ref().to_owned());
            }
        }
        let dependencies = cells.iter().map(|cell| cell.dependency.name.to_string());
        (groups, dependencies.collect())
    }
}

impl Subject<'_> {
    /// Whether it serves nobody once the app wants no traffic, whatever the dependencies say.
    ///
    /// Liveness and startup stay as they are: a prober that asks for them would kill the
    /// app while it drains.
    fn leaves_rotation(self) -> bool {
        !matches!(self, Self::Probe(Probe::Liveness | Probe::Startup))
    }

    /// Whether what it names is not there, or no longer. With nothing to look at, that is not up.
    fn is_missing(self, health: &Health) -> bool {
        match self {
            Self::Dependency(_) => true,
            Self::Group(group) => !health.has_group(group),
            Self::Probe(Probe::Group(group)) => !health.has_group(group),
            Self::Probe(_) => false,
        }
    }

    fn covers(self, cell: &Cell) -> bool {
        let dependency = &cell.dependency;
        match self {
            Self::Probe(probe) => probe.covers(dependency),
            Self::Group(group) => dependency.groups.iter().any(|name| name == group),
            Self::Dependency(name) => &*dependency.name == name,
        }
    }
}

#[cfg(test)]
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
                    let glance = health.glance(Subject::Probe(probe), Instant::now(), false);
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

    /// A refresher that rests is not dead, to a glance as to a report.
    #[tokio::test(start_paused = true)]
    async fn what_backs_off_is_as_fresh_as_in_a_report() {
        let ms = Duration::from_millis;
        let down = async || Err::<Outcome, _>(Failure::new(Reason::Refused));
        let health = Health::builder()
            .add(
                Dependency::new("dead", down)
                    .timeout(ms(100))
                    .failure_threshold(u32::MAX),
            )
            .refresh_every(ms(100))
            .build();
        for _ in 0..2_000 {
            tokio::time::sleep(ms(100)).await;
            let now = Instant::now();
            let glance = health.glance(Subject::Probe(&Probe::Full), now, false);
            assert_eq!(glance.status, health.snapshot_for(&Probe::Full).status);
        }
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
