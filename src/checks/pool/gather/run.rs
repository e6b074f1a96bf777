//! The course of a run: what begins when, and when the run ends.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    super::{
        connection_pool::ConnectionPool,
        judge::{Dedicated, Evidence, OwnCheckout, Proof, Served, is_settled, judge},
        lanes::{CheckoutPlan, End, Lane, Lanes, LastRun, Step},
    },
    evidence::{PoolOptions, PoolRun},
};
use crate::{check::CheckResult, report::Status};

/// How often the counters are read while no lane changes.
const TICK: Duration = Duration::from_millis(10);

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
    let mut changed = lanes.changed.subscribe();
    let mut run = PoolRun::new(lanes, options, deadline);
    loop {
        changed.mark_unchanged();
        run.refresh();
        run.begin_due();
        let (evidence, lane) = run.evidence();
        // A connection that did not answer so far may answer with the others.
        let is_open = evidence.unresponsive && run.now < run.started + run.total() / 8;
        if run.now >= run.end || !is_open && is_settled(&evidence, run.others()) {
            run.remember(&evidence);
            return run.result(judge(&evidence), lane.as_deref());
        }
        // The deadline, a change or a tick: one of the three comes.
        let _ = timeout_at(run.end.min(run.now + TICK), changed.changed()).await;
    }
}

impl<P: ConnectionPool> PoolRun<'_, P> {
    /// Begins what is due, from the cheapest on.
    fn begin_due(&mut self) {
        for lane in self.lanes.active() {
            if !self.checkouts.iter().any(|known| Arc::ptr_eq(known, &lane)) {
                self.checkouts.push(lane);
            }
        }
        let (evidence, _) = self.evidence();
        if self.needs_checkout(&evidence) {
            let plan = CheckoutPlan {
                until: self.end,
                doubt: self.last.doubt,
                repair: self.options.repair && self.lanes.pool.keeps_broken(),
            };
            let lane = self.lanes.begin_checkout(&self.checkouts, plan);
            self.checkouts.extend(lane);
        }
        if self.dedicated.is_none() && self.now >= self.dedicated_due(&evidence) {
            self.dedicated = self.lanes.begin_dedicated(self.end);
        }
        let answers = matches!(evidence.dedicated, Dedicated::Answered(_));
        if answers && self.options.repair {
            self.repair();
        }
        let pool_answered = pool_answered(&evidence);
        if answers && !pool_answered && self.counters.idle == 0 && self.counters.has_room() {
            // Wakes a checkout that waits for a connect that hangs.
            self.lanes.give_spare();
        }
    }

    /// Whether a checkout is due: the first if the pool has room, the second only next to one that hangs.
    fn needs_checkout(&self, evidence: &Evidence) -> bool {
        if !self.counters.has_room() {
            return false;
        }
        let mut active = 0;
        let mut hanging = 0;
        for lane in &self.checkouts {
            lane.with_step(|step| match step {
                Step::Waiting | Step::Holding(_) => {
                    active += 1;
                    let server_answers = matches!(
                        evidence.dedicated,
                        Dedicated::Answered(_) | Dedicated::Forbidden
                    );
                    let has_other = server_answers && self.counters.idle > 0;
                    // A checkout that waits hangs, too, if the pool's connect does not end.
                    let late = self.now.duration_since(lane.started) >= self.total();
                    let holds = matches!(step, Step::Holding(_));
                    hanging += usize::from(late || holds && has_other);
                }
                Step::Proving(since) => {
                    active += 1;
                    hanging += usize::from(self.pending_proof(*since).is_none());
                }
                Step::Ended(End::GaveUp) => {}
                // It began in another run and had no time; this run has.
                Step::Ended(End::Answered(answered))
                    if self.proof(answered) == Proof::NoTime
                        && self.now < self.started + self.total() / 2 => {}
                // It has shown all that a checkout can show.
                Step::Ended(_) => active += 2,
            });
        }
        active == 0 || (active == 1 && hanging == 1)
    }

    /// When the dedicated connection is opened.
    fn dedicated_due(&self, evidence: &Evidence) -> Instant {
        let total = self.total();
        match evidence.checkout {
            OwnCheckout::Answered(_) | OwnCheckout::Forbidden(_) | OwnCheckout::CannotServe(_) => {
                self.end
            }
            OwnCheckout::Broken(_) | OwnCheckout::ReconnectLoop => self.started,
            _ if self.last.doubt => self.started,
            OwnCheckout::NotTried | OwnCheckout::Waiting if evidence.full => {
                self.started + total / 8
            }
            _ => self.started + (self.last.took * 2).clamp(total / 4, total * 5 / 8),
        }
    }

    /// Replaces one broken connection that this run holds by the spare, which answers.
    fn repair(&mut self) {
        let lanes = self.lanes;
        let replace = |lane: &Arc<Lane<P>>| {
            let replaced = lane.with_step(|step| {
                let Step::Ended(End::Broken(_, held @ Some(_))) = step else {
                    return None;
                };
                let spare = lanes.take_spare()?;
                *held.take()? = spare;
                Some(())
            });
            replaced.is_some()
        };
        if let Some(index) = self.checkouts.iter().position(replace) {
            self.checkouts.swap_remove(index);
            self.repaired += 1;
            // The next checkout is examined, and needs another dedicated connection.
            self.dedicated = None;
            self.last.doubt = true;
        }
    }

    /// Leaves to the next run what it needs, and closes the spare connection once the pool works.
    fn remember(&self, evidence: &Evidence) {
        let pool_answered = pool_answered(evidence);
        self.lanes.set_last_run(LastRun {
            doubt: !pool_answered && evidence.served == Served::No,
            took: if pool_answered {
                self.started.elapsed()
            } else {
                self.last.took
            },
        });
        let is_up = judge(evidence).status == Status::Up;
        if pool_answered || (is_up && !evidence.needs_proof) {
            drop(self.lanes.take_spare());
        }
    }
}

fn pool_answered(evidence: &Evidence) -> bool {
    matches!(
        evidence.checkout,
        OwnCheckout::Answered(_) | OwnCheckout::Forbidden(_)
    )
}
