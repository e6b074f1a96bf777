//! The current status of a gRPC name: that of the report, without making a report.

use std::{borrow::Cow, time::Duration};

use tokio::time::Instant;

use super::{
    Evaluation, Health,
    state::{DependencyState, Outdated},
};
use crate::{
    bounds::MAX_DURATION,
    dependency::Requirement,
    probe::Probe,
    report::{Reason, Status},
};

/// The least time between two runs that watches start, if the cache lifetime is shorter.
const MIN_PERIOD: Duration = Duration::from_millis(20);

/// What a gRPC name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusTarget<'a> {
    /// A probe. A group here is that of a mapped service.
    Probe(&'a Probe),
    Group(&'a str),
    Dependency(&'a str),
}

/// The status of a target at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentStatus {
    pub(crate) status: Status,
    /// Time alone changes nothing before then.
    pub(crate) valid_until: Instant,
}

impl CurrentStatus {
    /// Whether no run is due.
    pub(crate) fn is_valid(&self, now: Instant) -> bool {
        now < self.valid_until
    }
}

impl Health {
    /// Returns the status of `target` as known now. With `starts_runs`, runs that are due start.
    pub(crate) fn current_status(
        &self,
        target: StatusTarget<'_>,
        now: Instant,
        starts_runs: bool,
    ) -> CurrentStatus {
        let probe = target.probe();
        if starts_runs {
            self.shared.keep_refreshing();
        }
        self.latch(now);
        // Liveness and startup do not change in a drain: otherwise a prober of them would kill the app.
        let is_out =
            !matches!(*probe, Probe::Liveness | Probe::Startup) && self.is_out_of_rotation();
        let lifecycle = self.lifecycle_status(&probe);
        let lifecycle = lifecycle.map_or(Status::Up, |(status, ..)| status);
        let mut current = CurrentStatus {
            status: if is_out { Status::Down } else { lifecycle },
            valid_until: now + MAX_DURATION,
        };
        if *probe == Probe::Startup && self.is_started() {
            return current;
        }
        // A group also waits for the start of the app, and no other caller may check what that needs.
        let waits_for_start = matches!(*probe, Probe::Group(_)) && !self.is_started();
        let mut is_missing = matches!(target, StatusTarget::Dependency(_));
        for state in self.states().iter() {
            let is_covered = target.covers(state, &probe);
            if !(is_covered || waits_for_start && state.is_needed_to_start()) {
                continue;
            }
            if starts_runs {
                state.join_or_refresh(now, |last| {
                    last.is_fresh(now) || now < last.started + MIN_PERIOD
                });
            }
            let found = state.current(now, Outdated::Unknown(Reason::Pending, now));
            let last = found.result.filter(|_| starts_runs);
            let next_run = last.map_or(now, |last| last.started + MIN_PERIOD);
            let valid_until = found.valid_until.max(next_run);
            current.valid_until = current.valid_until.min(valid_until);
            if is_covered {
                is_missing = false;
                let counts = found.status.is_serving() || target.requires(state, &probe);
                let status = if counts {
                    found.status
                } else {
                    Status::Degraded
                };
                current.status = current.status.max(status);
            }
        }
        if is_missing {
            current.status = current.status.max(Status::Unknown);
        }
        current
    }

    /// Evaluates what `target` covers; `None` for an unknown dependency.
    pub(crate) fn evaluate_target(&self, target: StatusTarget<'_>) -> Option<Evaluation> {
        match target {
            StatusTarget::Dependency(name) => self.evaluate_dependency(&Probe::Full, name),
            _ => Some(self.evaluate(&target.probe(), &[])),
        }
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

    fn covers(self, state: &DependencyState, probe: &Probe) -> bool {
        match self {
            Self::Dependency(name) => &*state.dependency.name == name,
            _ => state.dependency.is_covered_by(probe),
        }
    }

    fn requires(self, state: &DependencyState, probe: &Probe) -> bool {
        match self {
            // The name of a dependency has the status of that dependency.
            Self::Dependency(_) => true,
            // A mapped service cannot work without the members of its group.
            Self::Probe(Probe::Group(_))
                if state.dependency.requirement(probe) != Requirement::RequiredUntilStarted =>
            {
                !state.dependency.is_optional_for(probe)
            }
            Self::Probe(_) | Self::Group(_) => state.is_required(probe),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use tokio::time::Instant;

    use super::{Health, StatusTarget};
    use crate::{
        check::{Check, CheckResult, Outcome},
        dependency::Dependency,
        probe::Probe,
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

    #[tokio::test(start_paused = true)]
    async fn the_current_status_is_that_of_the_report() {
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
            for called in [false, true] {
                if called {
                    health.report().await;
                }
                for probe in &probes {
                    let target = match probe {
                        // As a probe it would mean a mapped service.
                        Probe::Group(name) => StatusTarget::Group(name),
                        probe => StatusTarget::Probe(probe),
                    };
                    let current = health.current_status(target, Instant::now(), false);
                    let report = health.snapshot_for(probe);
                    assert_eq!(
                        current.status, report.status,
                        "{needed} {optional} {aside} {called} {probe:?}"
                    );
                }
            }
            health.set_draining(true);
            let readiness = StatusTarget::Probe(&Probe::Readiness);
            let current = health.current_status(readiness, Instant::now(), false);
            assert_eq!(current.status, Status::Down);
            let group = StatusTarget::Group("g");
            assert_eq!(
                health.current_status(group, Instant::now(), false).status,
                Status::Down
            );
        }
    }

    /// The group itself has the same status as over HTTP.
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
        let status = |target| health.current_status(target, Instant::now(), false).status;
        assert_eq!(status(StatusTarget::Probe(&orders)), Status::Down);
        assert_eq!(status(StatusTarget::Probe(&search)), Status::Degraded);
        assert_eq!(status(StatusTarget::Group("orders")), Status::Degraded);
        assert_eq!(health.snapshot_for(&orders).status, Status::Degraded);
        assert_eq!(
            status(StatusTarget::Probe(&Probe::Readiness)),
            Status::Degraded
        );
    }

    #[tokio::test(start_paused = true)]
    async fn removed_names_are_unknown() {
        let up = async || Ok(Outcome::up());
        let health = Health::builder()
            .add(Dependency::new("orders", up).group("shop"))
            .check("other", up)
            .build();
        health.report().await;
        let status = |target| health.current_status(target, Instant::now(), false).status;
        let shop = Probe::group("shop");
        assert_eq!(status(StatusTarget::Probe(&shop)), Status::Up);
        assert!(health.remove("orders"));
        for target in [
            StatusTarget::Probe(&shop),
            StatusTarget::Group("shop"),
            StatusTarget::Dependency("orders"),
        ] {
            assert_eq!(status(target), Status::Unknown, "{target:?}");
        }
        assert_eq!(health.snapshot_for(&shop).status, Status::Unknown);
        assert_eq!(status(StatusTarget::Probe(&Probe::Readiness)), Status::Up);
    }

    /// A check that is up, and the number of its runs.
    fn counted() -> (impl Check, Arc<AtomicUsize>) {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(Outcome::up()) }
        };
        (check, runs)
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cache_watches_start_fifty_runs_per_second() {
        let (check, runs) = counted();
        let health = Health::builder()
            .add(Dependency::new("a", check).cache_for(Duration::ZERO))
            .build();
        for _ in 0..1_000 {
            let current =
                health.current_status(StatusTarget::Probe(&Probe::Full), Instant::now(), true);
            assert!(current.status <= Status::Unknown);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let runs = runs.load(Ordering::SeqCst);
        assert!((40..=50).contains(&runs), "{runs}");
    }

    #[tokio::test(start_paused = true)]
    async fn in_maintenance_watched_checks_run() {
        let (check, runs) = counted();
        let health = Health::builder().check("a", check).build();
        health.report().await;
        health.enter_maintenance("moving the disk");
        for _ in 0..10 {
            let current =
                health.current_status(StatusTarget::Probe(&Probe::Readiness), Instant::now(), true);
            assert_eq!(current.status, Status::Down);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(runs.load(Ordering::SeqCst) >= 10);
        // For a `Check`, which starts the runs that are due, the status is not valid.
        let now = Instant::now();
        let current = health.current_status(StatusTarget::Probe(&Probe::Readiness), now, false);
        assert!(!current.is_valid(now));
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_group_is_up_once_the_app_has_started() {
        let is_up = Arc::new(AtomicBool::new(false));
        let current = is_up.clone();
        let check = move || {
            let up = current.load(Ordering::SeqCst);
            async move { result(if up { Status::Up } else { Status::Down }) }
        };
        let health = Health::builder()
            .check("mail", check)
            .group("empty", None::<&str>)
            .build();
        let group = Probe::group("empty");
        assert_eq!(health.report_for(&group).await.status, Status::Unknown);
        is_up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(health.report_for(&group).await.status, Status::Up);
    }
}
