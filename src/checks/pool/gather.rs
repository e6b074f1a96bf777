//! One run: gathers evidence until it suffices or the deadline comes.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    connection_pool::{ConnectionPool, PoolCounters},
    judge::{
        Checkout, Dedicated, Evidence, Judgement, Others, Proof, Served, Text, is_settled, judge,
    },
    lanes::{
        Answered, CheckoutEnd, CheckoutLane, CheckoutStep, DedicatedEnd, DedicatedLane,
        DedicatedStep, Lanes, Memory, Plan,
    },
};
use crate::{
    check::{CheckResult, Outcome},
    report::{Failure, PoolStats, Reason, Status},
};

/// Counters are read this often while nothing else can tell.
const TICK: Duration = Duration::from_millis(10);
/// What other callers waited on average, from which on the pool counts as saturated.
const SLOW_CHECKOUT: Duration = Duration::from_millis(200);
/// So long before its deadline a run ends, so that its result is not taken for a timeout.
const MARGIN: Duration = Duration::from_millis(20);

/// Options of every check on a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::checks) struct PoolOptions {
    pub(in crate::checks) degraded_above: Option<f64>,
    pub(in crate::checks) repair: bool,
}

/// Runs the check on the pool of `lanes` until shortly before `deadline`.
pub(in crate::checks) async fn run<P: ConnectionPool>(
    lanes: &Arc<Lanes<P>>,
    options: PoolOptions,
    deadline: Instant,
) -> CheckResult {
    if !lanes.active().is_empty() {
        // What has already arrived is read first, so that no run counts an answer of before it began.
        for _ in 0..4 {
            yield_now().await;
        }
    }
    let mut news = lanes.news();
    let mut run = Run::new(lanes, options, deadline);
    loop {
        news.mark_unchanged();
        let now = Instant::now();
        let counters = lanes.pool.counters();
        run.begin_due(&counters, now);
        let (evidence, lane) = run.look(&counters, now);
        // A connection that was silent so far may answer with the others.
        let is_open = evidence.silent && now < run.begun + run.total() / 8;
        if now >= run.end || !is_open && is_settled(&evidence, run.others(&counters)) {
            return run.finish(&evidence, lane, &counters);
        }
        // The deadline, or news, or a tick: one of the three comes.
        let _ = timeout_at(run.end.min(now + TICK), news.changed()).await;
    }
}

struct Run<'a, P: ConnectionPool> {
    lanes: &'a Arc<Lanes<P>>,
    options: PoolOptions,
    begun: Instant,
    end: Instant,
    memory: Memory,
    served_before: Option<u64>,
    waited_before: Duration,
    checkouts: Vec<Arc<CheckoutLane<P>>>,
    dedicated: Option<Arc<DedicatedLane>>,
    repaired: u32,
}

impl<'a, P: ConnectionPool> Run<'a, P> {
    fn new(lanes: &'a Arc<Lanes<P>>, options: PoolOptions, deadline: Instant) -> Self {
        let begun = Instant::now();
        let total = deadline.saturating_duration_since(begun);
        // In this order: a checkout of the check's own that ends in between must not count as another's.
        let own = lanes.own_served();
        let counters = lanes.pool.counters();
        Self {
            lanes,
            options,
            begun,
            end: deadline - MARGIN.min(total / 8),
            memory: lanes.memory(),
            served_before: lanes.served_others(&counters, own),
            waited_before: counters.waited,
            checkouts: lanes.active(),
            dedicated: None,
            repaired: 0,
        }
    }

    fn total(&self) -> Duration {
        self.end.saturating_duration_since(self.begun)
    }

    /// Begins what is due, from the cheapest on.
    fn begin_due(&mut self, counters: &PoolCounters, now: Instant) {
        for lane in self.lanes.active() {
            if !self.checkouts.iter().any(|known| Arc::ptr_eq(known, &lane)) {
                self.checkouts.push(lane);
            }
        }
        let (evidence, _) = self.look(counters, now);
        if self.needs_checkout(&evidence, counters, now) {
            let plan = Plan {
                until: self.end,
                doubt: self.memory.doubt,
                repair: self.options.repair && self.lanes.pool.keeps_broken(),
            };
            let begun = self.lanes.begin_checkout(&self.checkouts, plan);
            self.checkouts.extend(begun);
        }
        if self.dedicated.is_none() && now >= self.dedicated_due(&evidence) {
            self.dedicated = Some(self.lanes.begin_dedicated(self.end));
        }
        let answered = matches!(evidence.dedicated, Dedicated::Answered(_));
        if answered && self.options.repair {
            self.repair();
        }
        let has_answer = matches!(
            evidence.checkout,
            Checkout::Answered(_) | Checkout::Forbidden(_)
        );
        if answered && !has_answer && counters.idle == 0 && counters.open < counters.max {
            // Wakes a checkout that waits for a connect that hangs.
            self.lanes.give_spare();
        }
    }

    /// The first checkout where the pool has room for one, the second only beside one that hangs.
    fn needs_checkout(&self, evidence: &Evidence, counters: &PoolCounters, now: Instant) -> bool {
        if !counters.has_room() {
            return false;
        }
        let mut active = 0;
        let mut hanging = 0;
        for lane in &self.checkouts {
            lane.with_step(|step| match step {
                CheckoutStep::Waiting | CheckoutStep::Holding(_) => {
                    active += 1;
                    let server_answers = matches!(
                        evidence.dedicated,
                        Dedicated::Answered(_) | Dedicated::Forbidden
                    );
                    let beside = server_answers && counters.idle > 0;
                    // One that waits hangs, too: on a connect of the pool's that does not end.
                    let late = now.duration_since(lane.begun) >= self.total();
                    let holds = matches!(step, CheckoutStep::Holding(_));
                    hanging += usize::from(late || holds && beside);
                }
                CheckoutStep::Proving(since) => {
                    active += 1;
                    hanging += usize::from(self.has_hung(*since, now));
                }
                CheckoutStep::Ended(CheckoutEnd::GaveUp) => {}
                // It had no time, as one that began in another run; this run has.
                CheckoutStep::Ended(CheckoutEnd::Answered(answered))
                    if self.proof(answered) == Proof::NoTime
                        && now < self.begun + self.total() / 2 => {}
                // It has shown all that a checkout can show.
                CheckoutStep::Ended(_) => active += 2,
            });
        }
        active == 0 || (active == 1 && hanging == 1)
    }

    /// When the dedicated connection is opened.
    fn dedicated_due(&self, evidence: &Evidence) -> Instant {
        let total = self.total();
        match evidence.checkout {
            Checkout::Answered(_) | Checkout::Forbidden(_) | Checkout::CannotServe(_) => self.end,
            Checkout::Broken(_) | Checkout::Storm => self.begun,
            _ if self.memory.doubt => self.begun,
            Checkout::NotTried | Checkout::Waiting if evidence.full => self.begun + total / 8,
            _ => self.begun + (self.memory.took * 2).clamp(total / 4, total * 5 / 8),
        }
    }

    /// Puts the connection that answers in the place of one that this run holds and that is broken.
    fn repair(&mut self) {
        let held = self.checkouts.iter().position(|lane| {
            lane.with_step(|step| {
                matches!(step, CheckoutStep::Ended(CheckoutEnd::Broken(_, Some(_))))
            })
        });
        let Some(index) = held else { return };
        let Some(spare) = self.lanes.take_spare() else {
            return;
        };
        let lane = self.checkouts.swap_remove(index);
        lane.with_step(|step| {
            if let CheckoutStep::Ended(CheckoutEnd::Broken(_, held)) = step
                && let Some(mut checkout) = held.take()
            {
                *checkout = spare;
                self.repaired += 1;
            }
        });
        // The next one is examined, and needs a connection of its own.
        self.dedicated = None;
        self.memory.doubt = true;
    }

    /// Reads the tasks and counters; changes nothing.
    ///
    /// Returns the checkout's task, too, whose end tells more.
    fn look(
        &self,
        counters: &PoolCounters,
        now: Instant,
    ) -> (Evidence, Option<Arc<CheckoutLane<P>>>) {
        let mut checkout = Checkout::NotTried;
        let mut chosen = None;
        let mut pending = 0;
        let mut silent = 0_u32;
        let mut holding = 0;
        let mut broken = false;
        for lane in &self.checkouts {
            let seen = lane.with_step(|step| {
                holding += u32::from(!matches!(
                    step,
                    CheckoutStep::Waiting | CheckoutStep::Ended(_)
                ));
                broken |= matches!(step, CheckoutStep::Ended(CheckoutEnd::Answered(answered)) if answered.broken);
                pending += u64::from(matches!(
                    step,
                    CheckoutStep::Waiting | CheckoutStep::Holding(_)
                ));
                self.seen(step, now)
            });
            silent += u32::from(seen == Checkout::Silent);
            if rank(seen) > rank(checkout) {
                checkout = seen;
                chosen = Some(lane.clone());
            }
        }
        let idle_or_room = counters.has_room();
        let evidence = Evidence {
            checkout,
            dedicated: self.seen_dedicated(now),
            served: self.served(counters, pending),
            full: !idle_or_room && counters.open > holding,
            silent: silent > 0,
            broken,
            needs_proof: self.lanes.pool.has_proof(),
        };
        (evidence, chosen)
    }

    fn seen(&self, step: &CheckoutStep<P>, now: Instant) -> Checkout {
        match step {
            CheckoutStep::Holding(since) if now.duration_since(*since) >= self.total() => {
                Checkout::Silent
            }
            CheckoutStep::Waiting | CheckoutStep::Holding(_) => Checkout::Waiting,
            // The server ends a query in time. One that is not over much later has hung, and what
            // answered before it answered in another run.
            CheckoutStep::Proving(since) if self.has_hung(*since, now) => Checkout::Silent,
            CheckoutStep::Proving(since) => Checkout::Answered(self.unfinished(*since, now)),
            CheckoutStep::Ended(end) => match end {
                CheckoutEnd::GaveUp => Checkout::Waiting,
                CheckoutEnd::Storm => Checkout::Storm,
                CheckoutEnd::Broken(failure, _) => Checkout::Broken(failure.reason()),
                CheckoutEnd::CannotServe(failure) => Checkout::CannotServe(failure.reason()),
                CheckoutEnd::Answered(answered) if answered.forbidden => {
                    Checkout::Forbidden(self.proof(answered))
                }
                CheckoutEnd::Answered(answered) => Checkout::Answered(self.proof(answered)),
            },
        }
    }

    fn seen_dedicated(&self, now: Instant) -> Dedicated {
        let Some(lane) = &self.dedicated else {
            return Dedicated::NotTried;
        };
        lane.with_step(|step| match step {
            DedicatedStep::Connecting | DedicatedStep::Waiting => Dedicated::Silent,
            DedicatedStep::Proving(since) if self.has_hung(*since, now) => Dedicated::Silent,
            DedicatedStep::Proving(since) => Dedicated::Answered(self.unfinished(*since, now)),
            DedicatedStep::Ended(DedicatedEnd::Refused(failure)) => {
                Dedicated::Refused(failure.reason())
            }
            DedicatedStep::Ended(DedicatedEnd::Failed(failure)) => {
                Dedicated::Failed(failure.reason())
            }
            DedicatedStep::Ended(DedicatedEnd::Answered(answered)) if answered.forbidden => {
                Dedicated::Forbidden
            }
            DedicatedStep::Ended(DedicatedEnd::Answered(answered)) => {
                Dedicated::Answered(self.proof(answered))
            }
        })
    }

    fn proof(&self, answered: &Answered) -> Proof {
        match &answered.proof {
            None => Proof::NotRequired,
            Some(Ok(outcome)) => Proof::Done(outcome.status(), outcome.reason()),
            // The server ended it. It was not given the time it may take.
            Some(Err(failure))
                if failure.reason() == Reason::Timeout && answered.had < self.total() / 2 =>
            {
                Proof::NoTime
            }
            Some(Err(failure)) => Proof::Done(Status::Down, Some(failure.reason())),
        }
    }

    fn has_hung(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) >= self.total() + self.total() / 2
    }

    /// A proof in progress.
    fn unfinished(&self, since: Instant, now: Instant) -> Proof {
        if now.duration_since(since) >= self.total() / 2 {
            Proof::TooLong
        } else {
            Proof::NoTime
        }
    }

    /// `pending`: own checkouts that the pool may have counted already.
    fn served(&self, counters: &PoolCounters, pending: u64) -> Served {
        let own = self.lanes.own_served() + pending;
        let now = self.lanes.served_others(counters, own);
        let (Some(before), Some(now)) = (self.served_before, now) else {
            return Served::No;
        };
        let served = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        match counters
            .waited
            .saturating_sub(self.waited_before)
            .checked_div(served)
        {
            None => Served::No,
            Some(wait) if wait >= SLOW_CHECKOUT => Served::Slowly,
            Some(_) => Served::Promptly,
        }
    }

    /// What the pool's other connections could still show.
    fn others(&self, counters: &PoolCounters) -> Others {
        match (counters.open, self.served_before) {
            (0, _) => Others::None,
            (_, None) => Others::Uncounted,
            (_, Some(_)) => Others::Counted,
        }
    }

    fn finish(
        self,
        evidence: &Evidence,
        lane: Option<Arc<CheckoutLane<P>>>,
        counters: &PoolCounters,
    ) -> CheckResult {
        let judgement = judge(evidence);
        let pool_answered = matches!(
            evidence.checkout,
            Checkout::Answered(_) | Checkout::Forbidden(_)
        );
        self.lanes.remember(Memory {
            doubt: !pool_answered && evidence.served == Served::No,
            took: if pool_answered {
                self.begun.elapsed()
            } else {
                self.memory.took
            },
        });
        if pool_answered || (judgement.status == Status::Up && !evidence.needs_proof) {
            drop(self.lanes.take_spare());
        }
        let result = self.result(judgement, lane.as_deref());
        let stats = PoolStats::new(counters.max, counters.open, counters.idle);
        let used = counters.open.saturating_sub(counters.idle);
        let crowded = self
            .options
            .degraded_above
            .is_some_and(|share| f64::from(used) > share * f64::from(counters.max));
        match result {
            Ok(outcome) if crowded && outcome.status() == Status::Up => {
                let mut degraded = Outcome::degraded(Reason::Saturated)
                    .message(format!("{used} connections in use"))
                    .pool(stats);
                degraded.observations.values = outcome.observations.values;
                Ok(degraded)
            }
            Ok(outcome) => Ok(outcome.pool(stats)),
            Err(failure) => Err(failure.pool(stats)),
        }
    }

    /// The judgement with its text, and with what the proof observed.
    fn result(&self, judgement: Judgement, lane: Option<&CheckoutLane<P>>) -> CheckResult {
        let mut result = match judgement.text {
            Text::Checkout => lane.and_then(checkout_result),
            Text::Dedicated => self.dedicated_result(),
            Text::None | Text::Note(_) | Text::Phase => None,
        }
        .unwrap_or_else(|| match (judgement.status, judgement.reason) {
            (Status::Up, _) | (_, None) => Ok(Outcome::up()),
            (Status::Degraded, Some(reason)) => Ok(Outcome::degraded(reason)),
            (_, Some(reason)) => Err(Failure::new(reason)),
        });
        // A refused login beside a pool that serves is degraded.
        if let (Err(failure), Status::Degraded) = (&result, judgement.status) {
            let message = failure.message_text().cloned().unwrap_or_default();
            result = Ok(Outcome::degraded(failure.reason()).message(message));
        }
        let note = match judgement.text {
            Text::Note(note) => Some(note),
            Text::Phase => Some(self.phase()),
            _ => None,
        };
        let result = match (result, note) {
            (Ok(outcome), Some(note)) => Ok(outcome.message(note)),
            (Err(failure), Some(note)) => Err(failure.message(note)),
            (result, None) => result,
        };
        match (result, self.repaired) {
            (result, 0) => result,
            (Ok(outcome), repaired) => Ok(outcome.observe("repaired", repaired)),
            (Err(failure), repaired) => Err(failure.observe("repaired", repaired)),
        }
    }

    fn dedicated_result(&self) -> Option<CheckResult> {
        self.dedicated.as_ref()?.with_step(|step| match step {
            DedicatedStep::Ended(
                DedicatedEnd::Refused(failure) | DedicatedEnd::Failed(failure),
            ) => Some(Err(failure.duplicate())),
            DedicatedStep::Ended(DedicatedEnd::Answered(answered)) => duplicate(answered),
            _ => None,
        })
    }

    /// What a run without a reply was waiting for.
    fn phase(&self) -> &'static str {
        let proving = self
            .checkouts
            .iter()
            .any(|lane| lane.with_step(|step| matches!(step, CheckoutStep::Proving(_))));
        let proving_beside = self
            .dedicated
            .as_ref()
            .is_some_and(|lane| lane.with_step(|step| matches!(step, DedicatedStep::Proving(_))));
        if proving || proving_beside {
            return "waiting for the reply to the check's query";
        }
        let connecting = self
            .dedicated
            .as_ref()
            .is_some_and(|lane| lane.with_step(|step| matches!(step, DedicatedStep::Connecting)));
        let held = self
            .checkouts
            .iter()
            .any(|lane| lane.with_step(|step| matches!(step, CheckoutStep::Holding(_))));
        match (connecting, held) {
            (true, true) => {
                "waiting for a reply on a pooled connection, and for a new one to connect and log in"
            }
            (true, false) => "waiting for a new connection to connect and log in",
            (false, true) => "waiting for the reply on a pooled connection",
            (false, false) => "waiting for the server's reply",
        }
    }
}

fn rank(checkout: Checkout) -> u8 {
    match checkout {
        Checkout::NotTried => 0,
        Checkout::Waiting => 1,
        Checkout::Silent => 2,
        Checkout::Storm => 3,
        Checkout::Broken(_) => 4,
        Checkout::CannotServe(_) => 5,
        Checkout::Answered(Proof::NoTime | Proof::TooLong) | Checkout::Forbidden(_) => 6,
        Checkout::Answered(_) => 7,
    }
}

fn checkout_result<P: ConnectionPool>(lane: &CheckoutLane<P>) -> Option<CheckResult> {
    lane.with_step(|step| match step {
        CheckoutStep::Ended(
            CheckoutEnd::Broken(failure, _) | CheckoutEnd::CannotServe(failure),
        ) => Some(Err(failure.duplicate())),
        CheckoutStep::Ended(CheckoutEnd::Answered(answered)) => duplicate(answered),
        _ => None,
    })
}

fn duplicate(answered: &Answered) -> Option<CheckResult> {
    Some(match answered.proof.as_ref()? {
        Ok(outcome) => Ok(outcome.clone()),
        Err(failure) => Err(failure.duplicate()),
    })
}

impl<P: ConnectionPool> fmt::Debug for Lanes<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}
