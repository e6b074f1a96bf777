//! From the lanes and the pool's counters to [`Evidence`].

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::super::{
    connection_pool::{ConnectionPool, PoolCounters},
    judge::{Dedicated, Evidence, OtherConnections, OwnCheckout, Proof, Served},
    lanes::{Answered, End, Lane, Lanes, LastRun, Step},
};
use crate::report::{Reason, Status};

/// The average wait of other callers from which on the pool counts as saturated.
const SLOW_CHECKOUT: Duration = Duration::from_millis(200);
/// How long before its deadline a run ends, so that its result is not taken for a timeout.
const MARGIN: Duration = Duration::from_millis(20);

/// Options of every check on a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::checks) struct PoolOptions {
    pub(in crate::checks) degraded_above: Option<f64>,
    pub(in crate::checks) repair: bool,
}

/// One run of a check on a pool.
pub(super) struct PoolRun<'a, P: ConnectionPool> {
    pub(super) lanes: &'a Arc<Lanes<P>>,
    pub(super) options: PoolOptions,
    pub(super) started: Instant,
    pub(super) end: Instant,
    pub(super) last: LastRun,
    served_before: Option<u64>,
    own_before: u64,
    waited_before: Duration,
    pub(super) checkouts: Vec<Arc<Lane<P>>>,
    pub(super) dedicated: Option<Arc<Lane<P>>>,
    /// Broken connections that this run has replaced.
    pub(super) repaired: u32,
    /// The pool's counters when they were last read.
    pub(super) counters: PoolCounters,
    pub(super) now: Instant,
}

impl<'a, P: ConnectionPool> PoolRun<'a, P> {
    pub(super) fn new(lanes: &'a Arc<Lanes<P>>, options: PoolOptions, deadline: Instant) -> Self {
        let started = Instant::now();
        let total = deadline.saturating_duration_since(started);
        // In this order: a checkout of this check that ends in between must not count as another caller's.
        let own_before = lanes.own_served();
        let counters = lanes.pool.counters();
        Self {
            lanes,
            options,
            started,
            end: deadline - MARGIN.min(total / 8),
            last: lanes.last_run(),
            served_before: lanes.served(&counters),
            own_before,
            waited_before: counters.waited,
            checkouts: Vec::new(),
            dedicated: None,
            repaired: 0,
            counters,
            now: started,
        }
    }

    /// Reads the clock and the pool's counters.
    pub(super) fn refresh(&mut self) {
        self.now = Instant::now();
        self.counters = self.lanes.pool.counters();
    }

    pub(super) fn total(&self) -> Duration {
        self.end.saturating_duration_since(self.started)
    }

    /// The evidence so far, and the lane of the checkout that it describes.
    pub(super) fn evidence(&self) -> (Evidence, Option<Arc<Lane<P>>>) {
        let (mut checkout, mut chosen) = (OwnCheckout::NotTried, None);
        let (mut pending, mut holding) = (0, 0);
        let (mut unresponsive, mut broken) = (false, false);
        for lane in &self.checkouts {
            let found = lane.with_step(|step| {
                match step {
                    Step::Waiting => pending += 1,
                    Step::Holding(_) => (pending, holding) = (pending + 1, holding + 1),
                    Step::Proving(_) => holding += 1,
                    Step::Ended(End::Answered(answered)) => broken |= answered.broken,
                    Step::Ended(_) => {}
                }
                self.checkout_evidence(step)
            });
            unresponsive |= found == OwnCheckout::Unresponsive;
            if rank(found) > rank(checkout) {
                (checkout, chosen) = (found, Some(lane.clone()));
            }
        }
        let dedicated = self.dedicated.as_ref();
        let dedicated = dedicated.map(|lane| lane.with_step(|step| self.dedicated_evidence(step)));
        let evidence = Evidence {
            checkout,
            dedicated: dedicated.unwrap_or(Dedicated::NotTried),
            served: self.served(pending),
            full: !self.counters.has_room() && self.counters.open > holding,
            unresponsive,
            broken,
            needs_proof: self.lanes.pool.has_proof(),
        };
        (evidence, chosen)
    }

    fn checkout_evidence(&self, step: &Step<P>) -> OwnCheckout {
        match step {
            Step::Holding(since) if self.now.duration_since(*since) >= self.total() => {
                OwnCheckout::Unresponsive
            }
            Step::Waiting | Step::Holding(_) | Step::Ended(End::GaveUp) => OwnCheckout::Waiting,
            // The server ends a query in time. One that is not over much later has hung, and what
            // answered before it answered in another run.
            Step::Proving(since) => {
                let proof = self.pending_proof(*since);
                proof.map_or(OwnCheckout::Unresponsive, OwnCheckout::Answered)
            }
            Step::Ended(End::ReconnectLoop) => OwnCheckout::ReconnectLoop,
            Step::Ended(End::Refused(failure) | End::Broken(failure, _)) => {
                OwnCheckout::Broken(failure.reason())
            }
            Step::Ended(End::CannotServe(failure)) => OwnCheckout::CannotServe(failure.reason()),
            Step::Ended(End::Answered(answered)) if answered.forbidden => {
                OwnCheckout::Forbidden(self.proof(answered))
            }
            Step::Ended(End::Answered(answered)) => OwnCheckout::Answered(self.proof(answered)),
        }
    }

    fn dedicated_evidence(&self, step: &Step<P>) -> Dedicated {
        match step {
            Step::Waiting | Step::Holding(_) => Dedicated::Waiting,
            Step::Proving(since) => {
                let proof = self.pending_proof(*since);
                proof.map_or(Dedicated::Waiting, Dedicated::Answered)
            }
            Step::Ended(End::GaveUp | End::ReconnectLoop) => Dedicated::Waiting,
            Step::Ended(End::Refused(failure)) => Dedicated::Refused(failure.reason()),
            Step::Ended(End::Broken(failure, _) | End::CannotServe(failure)) => {
                Dedicated::Failed(failure.reason())
            }
            Step::Ended(End::Answered(answered)) if answered.forbidden => Dedicated::Forbidden,
            Step::Ended(End::Answered(answered)) => Dedicated::Answered(self.proof(answered)),
        }
    }

    pub(super) fn proof(&self, answered: &Answered) -> Proof {
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

    /// How far a proof is that began at `since`; `None` if it has hung.
    pub(super) fn pending_proof(&self, since: Instant) -> Option<Proof> {
        let (took, total) = (self.now.duration_since(since), self.total());
        match took {
            _ if took >= total + total / 2 => None,
            _ if took >= total / 2 => Some(Proof::TooLong),
            _ => Some(Proof::NoTime),
        }
    }

    /// `pending`: checkouts of this check that the pool may have counted already.
    fn served(&self, pending: u64) -> Served {
        // Of this run only: the pool may have counted fewer of them, which must not add up.
        let own = self.lanes.own_served() + pending - self.own_before;
        let now = self.lanes.served(&self.counters);
        let (Some(before), Some(now)) = (self.served_before, now) else {
            return Served::No;
        };
        let others = now.saturating_sub(before).saturating_sub(own);
        let served = u32::try_from(others).unwrap_or(u32::MAX);
        let waited = self.counters.waited.saturating_sub(self.waited_before);
        match waited.checked_div(served) {
            None => Served::No,
            Some(wait) if wait >= SLOW_CHECKOUT => Served::Slowly,
            Some(_) => Served::Promptly,
        }
    }

    /// What the pool's other connections could still show.
    pub(super) fn others(&self) -> OtherConnections {
        match (self.counters.open, self.served_before) {
            (0, _) => OtherConnections::None,
            (_, None) => OtherConnections::Uncounted,
            (_, Some(_)) => OtherConnections::Counted,
        }
    }
}

/// Orders the evidence of several checkouts: the highest counts.
fn rank(checkout: OwnCheckout) -> u8 {
    match checkout {
        OwnCheckout::NotTried => 0,
        OwnCheckout::Waiting => 1,
        OwnCheckout::Unresponsive => 2,
        OwnCheckout::ReconnectLoop => 3,
        OwnCheckout::Broken(_) => 4,
        OwnCheckout::CannotServe(_) => 5,
        OwnCheckout::Answered(Proof::NoTime | Proof::TooLong) | OwnCheckout::Forbidden(_) => 6,
        OwnCheckout::Answered(_) => 7,
    }
}
