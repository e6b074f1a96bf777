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

/// One run of a check on a pool.
pub(super) struct PoolRun<'a, P: ConnectionPool> {
    pub(super) lanes: &'a Arc<Lanes<P>>,
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
}

impl<'a, P: ConnectionPool> PoolRun<'a, P> {
    pub(super) fn new(lanes: &'a Arc<Lanes<P>>, deadline: Instant) -> Self {
        let started = Instant::now();
        let total = deadline.saturating_duration_since(started);
        // In this order: a checkout of this check that ends in between must not count as another caller's.
        let own_before = lanes.own_served();
        let counters = lanes.pool.counters();
        Self {
            lanes,
            started,
            end: deadline - MARGIN.min(total / 8),
            last: lanes.last_run(),
            served_before: lanes.served(&counters),
            own_before,
            waited_before: counters.waited,
            checkouts: Vec::new(),
            dedicated: None,
            repaired: 0,
        }
    }

    pub(super) fn total(&self) -> Duration {
        self.end.saturating_duration_since(self.started)
    }

    /// The evidence so far, and the lane of the checkout that it describes.
    pub(super) fn evidence(
        &self,
        counters: &PoolCounters,
        now: Instant,
    ) -> (Evidence, Option<Arc<Lane<P>>>) {
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
                self.checkout_evidence(step, now)
            });
            unresponsive |= found == OwnCheckout::Unresponsive;
            if rank(found) > rank(checkout) {
                (checkout, chosen) = (found, Some(lane.clone()));
            }
        }
        let dedicated = self.dedicated.as_ref();
        let dedicated =
            dedicated.map(|lane| lane.with_step(|step| self.dedicated_evidence(step, now)));
        let evidence = Evidence {
            checkout,
            dedicated: dedicated.unwrap_or(Dedicated::NotTried),
            served: self.served(counters, pending),
            full: !counters.has_room() && counters.open > holding,
            unresponsive,
            broken,
            needs_proof: self.lanes.pool.has_proof(),
        };
        (evidence, chosen)
    }

    fn checkout_evidence(&self, step: &Step<P>, now: Instant) -> OwnCheckout {
        match step {
            Step::Holding(since) if now.duration_since(*since) >= self.total() => {
                OwnCheckout::Unresponsive
            }
            Step::Waiting | Step::Holding(_) | Step::Ended(End::GaveUp) => OwnCheckout::Waiting,
            // The server ends a query in time. One that is not over much later has hung, and what
            // answered before it answered in another run.
            Step::Proving(since) if self.has_hung(*since, now) => OwnCheckout::Unresponsive,
            Step::Proving(since) => OwnCheckout::Answered(self.pending_proof(*since, now)),
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

    fn dedicated_evidence(&self, step: &Step<P>, now: Instant) -> Dedicated {
        match step {
            Step::Waiting | Step::Holding(_) => Dedicated::Waiting,
            Step::Proving(since) if self.has_hung(*since, now) => Dedicated::Waiting,
            Step::Proving(since) => Dedicated::Answered(self.pending_proof(*since, now)),
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

    /// Whether a proof that began at `since` has hung.
    pub(super) fn has_hung(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) >= self.total() + self.total() / 2
    }

    fn pending_proof(&self, since: Instant, now: Instant) -> Proof {
        if now.duration_since(since) >= self.total() / 2 {
            Proof::TooLong
        } else {
            Proof::NoTime
        }
    }

    /// `pending`: checkouts of this check that the pool may have counted already.
    fn served(&self, counters: &PoolCounters, pending: u64) -> Served {
        // Of this run only: the pool may have counted fewer of them, which must not add up.
        let own = self.lanes.own_served() + pending - self.own_before;
        let now = self.lanes.served(counters);
        let (Some(before), Some(now)) = (self.served_before, now) else {
            return Served::No;
        };
        let others = now.saturating_sub(before).saturating_sub(own);
        let served = u32::try_from(others).unwrap_or(u32::MAX);
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
    pub(super) fn others(&self, counters: &PoolCounters) -> OtherConnections {
        match (counters.open, self.served_before) {
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
