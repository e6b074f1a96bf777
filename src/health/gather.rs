use std::sync::Arc;

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::Health;
use crate::{
    bounds::MAX_DURATION,
    cell::{Ask, Cell, Seen},
    dependency::Dependency,
    engine::{flight::Wait, verdict::Verdict},
    probe::Probe,
    report::{Excluded, Reason, Report, Rotation, Status},
};

/// One question to several cells, all asked at once; their runs go side by side.
///
/// Dropping it gives up the asker's places and cancels no run.
#[derive(Debug)]
pub(crate) struct Gathering {
    pub(super) health: Health,
    pub(super) probe: Option<Probe>,
    /// The members when it was asked.
    pub(super) members: Arc<Vec<Arc<Cell>>>,
    pub(super) parts: Vec<Part>,
    pub(super) patience: Instant,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) cell: Arc<Cell>,
    pub(super) state: PartState,
}

#[derive(Debug)]
pub(super) enum PartState {
    /// Whatever the cell says when the gathering is finished.
    Look,
    /// Its run is under way since then.
    Wait(Wait<Verdict>, Instant),
    /// The asker's patience ended before the run that was under way since then.
    Pending(Instant),
    /// The asker wanted it left out: nobody asks it, and it does not count.
    Excluded(Excluded),
}

/// What comes of a question.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) report: Report,
    /// The answer holds until then, while the epoch is this one.
    pub(crate) valid_until: Instant,
    pub(crate) epoch: u64,
}

impl Gathering {
    /// Asks the cells that `probe` looks at.
    pub(super) fn ask(health: Health, probe: &Probe) -> Self {
        Self::ask_unless(health, probe, |_| None)
    }

    /// The same without the dependencies that are `excluded`.
    pub(super) fn ask_unless(
        health: Health,
        probe: &Probe,
        excluded: impl Fn(&Dependency) -> Option<Excluded>,
    ) -> Self {
        // Such an app is unready whatever a run would say.
        let is_out =
            *probe == Probe::Readiness && health.shared().lifecycle.out_of_rotation().is_some();
        let refreshed = !is_out && health.keep_refreshing();
        Self::of(health, probe, |cell, now| {
            match excluded(&cell.dependency) {
                Some(by) => PartState::Excluded(by),
                None if is_out => PartState::Look,
                None => ask(cell, now, refreshed),
            }
        })
    }

    /// Takes what the cells know.
    pub(super) fn look(health: Health, probe: &Probe) -> Self {
        Self::of(health, probe, |_, _| PartState::Look)
    }

    /// Asks one cell.
    pub(super) fn ask_one(health: Health, cell: Arc<Cell>) -> Self {
        let now = Instant::now();
        let state = ask(&cell, now, health.keep_refreshing());
        Self {
            patience: health.patience(now),
            members: health.cells(),
            health,
            probe: None,
            parts: vec![Part { cell, state }],
        }
    }

    fn of(health: Health, probe: &Probe, state: impl Fn(&Arc<Cell>, Instant) -> PartState) -> Self {
        let now = Instant::now();
        // Latched: nothing can change the answer any more, so nothing is asked.
        let latched = *probe == Probe::Startup && health.is_started();
        let members = health.cells();
        let mut parts: Vec<Part> = members
            .iter()
            .filter(|cell| !latched && probe.covers(&cell.dependency))
            .map(|cell| Part {
                cell: cell.clone(),
                state: state(cell, now),
            })
            .collect();
        // A filter promises no length, so room for four was made, which every waiter would keep.
        parts.shrink_to_fit();
        Self {
            patience: health.patience(now),
            health,
            probe: Some(probe.clone()),
            members,
            parts,
        }
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_settled(&self) -> bool {
        !self
            .parts
            .iter()
            .any(|part| matches!(part.state, PartState::Wait(..)))
    }

    /// Waits for the runs under way, as long as the asker's patience lasts.
    pub(crate) async fn settle(&mut self) {
        // Outside a runtime there is no run to wait for, and no clock that could end the wait.
        let runs = Handle::try_current().is_ok();
        for part in &mut self.parts {
            if let PartState::Wait(wait, since) = &mut part.state {
                if !runs {
                    part.state = PartState::Pending(*since);
                    continue;
                }
                // One after the other, all with the same deadline: the runs go side by side.
                let said = timeout_at(self.patience, wait).await.ok().flatten();
                // A run may end without a word, when its runtime does.
                part.state = match said {
                    Some(verdict) if verdict.started >= *since => PartState::Look,
                    _ => PartState::Pending(*since),
                };
            }
        }
    }

    /// Makes the answer of what is known now.
    pub(crate) fn finish(&self) -> Answered {
        // Read before the cells: a verdict published meanwhile must spoil the answer, not slip past it.
        let epoch = self.health.epoch();
        let now = Instant::now();
        let cells = self.health.cells();
        // One added since is missing here: the answer serves who asked before, and nobody after.
        let mut valid_until = if Arc::ptr_eq(&cells, &self.members) {
            now + MAX_DURATION
        } else {
            now
        };
        let mut entries = Vec::with_capacity(self.parts.len());
        for Part { cell, state } in &self.parts {
            // Removed while it was waited for. Who asked for it alone still hears of it.
            if self.probe.is_some() && cell.is_retired() {
                continue;
            }
            let seen = match (cell.look(now), state) {
                (Seen::Counts(last), PartState::Pending(since)) if !last.is_fresh(now) => {
                    Seen::Pending(Some(last), *since)
                }
                (Seen::Unknown, PartState::Pending(since)) => Seen::Pending(None, *since),
                (seen, _) => seen,
            };
            let seen = self.unless_stale(cell, seen, now);
            valid_until = valid_until.min(match &seen {
                Seen::Counts(verdict) => self.health.counts_until(cell, verdict),
                Seen::Pending(..) | Seen::Stuck(_) | Seen::Stale(_) | Seen::Unknown => now,
            });
            let mut entry = cell.entry(&seen, now);
            entry.interval = self.health.refresh_period().or(entry.interval);
            if let PartState::Excluded(by) = state {
                entry.excluded = Some(by.clone());
            }
            entries.push(entry);
        }
        self.latch(&cells);
        let report = Report::of(entries, self.health.shared().info.clone());
        let mut report = self.with_lifecycle(report);
        report.rotation = self.rotation(&report);
        Answered {
            report,
            valid_until,
            epoch,
        }
    }

    /// What the readiness probe answers, whatever `report` is about.
    fn rotation(&self, report: &Report) -> Rotation {
        let excludes = |part: &Part| matches!(part.state, PartState::Excluded(_));
        if self.probe != Some(Probe::Readiness) || self.parts.iter().any(excludes) {
            let readiness = Self::look(self.health.clone(), &Probe::Readiness);
            return readiness.finish().report.rotation;
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

    fn unless_stale(&self, cell: &Cell, seen: Seen, now: Instant) -> Seen {
        match seen {
            Seen::Counts(verdict)
                if self.health.refresh_period().is_some()
                    && now > self.health.counts_until(cell, &verdict) =>
            {
                Seen::Stale(verdict)
            }
            seen => seen,
        }
    }

    /// Remembers the first moment at which all required dependencies serve.
    fn latch(&self, cells: &[Arc<Cell>]) {
        if self.health.is_started() {
            return;
        }
        let now = Instant::now();
        let all_serve = cells.iter().all(|cell| {
            let spared = !cell.dependency.required || !cell.dependency.readiness;
            spared || matches!(cell.look(now), Seen::Counts(last) if last.status.is_serving())
        });
        if all_serve {
            self.health.set_started();
        }
    }

    fn with_lifecycle(&self, report: Report) -> Report {
        if self.probe == Some(Probe::Readiness)
            && let Some((reason, message)) = self.health.shared().lifecycle.out_of_rotation()
        {
            return report.overruled(Status::Down, reason).saying(message);
        }
        match &self.probe {
            Some(Probe::Readiness | Probe::Startup) if !self.health.is_started() => {
                report.overruled(Status::Unknown, Reason::Starting)
            }
            // A misspelt group has no member that is down, either.
            Some(Probe::Group(group)) if !self.health.has_group(group) => {
                report.overruled(Status::Unknown, Reason::NotFound)
            }
            _ => report,
        }
    }
}

/// Asks `cell`; a `refreshed` one is looked at, and nobody waits for it.
fn ask(cell: &Arc<Cell>, now: Instant, refreshed: bool) -> PartState {
    if refreshed {
        return match cell.look(now) {
            // Nobody knows anything: do not leave it to the first phase.
            Seen::Unknown => {
                cell.refresh(now);
                PartState::Pending(now)
            }
            _ => PartState::Look,
        };
    }
    cell.ask(now).into()
}

impl From<Ask> for PartState {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Now(Seen::Pending(_, since)) => Self::Pending(since),
            Ask::Now(_) => Self::Look,
            Ask::Wait(wait, since) => Self::Wait(wait, since),
        }
    }
}
