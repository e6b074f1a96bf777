//! From the lanes and the pool's counters to [`Evidence`].

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::super::{
    connection_pool::{ConnectionPool, PoolCounters},
    judge::{Dedicated, Evidence, OtherConnections, OwnCheckout, Proof, Served},
    lanes::{
        Answered, CheckoutEnd, CheckoutLane, CheckoutStep, DedicatedEnd, DedicatedLane,
        DedicatedStep, Lanes, LastRun,
    },
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
    pub(super) checkouts: Vec<Arc<CheckoutLane<P>>>,
    pub(super) dedicated: Option<Arc<DedicatedLane>>,
    /// Broken connections that this run has replaced.
    pub(super) repaired: u32,
}

impl<'a, P: ConnectionPool> PoolRun<'a, P> {
    pub(super) fn new(lanes: &'a Arc<Lanes<P>>, deadline: Instant) -> Self {
        let started = Instant::now();
        let total = deadline.saturating_duration_since(started);
        // In this order: a checkout of this check that ends in between must not count as another caller's.
        let own_before = lanes.shared.own_served();
        let counters = lanes.pool.counters();
        Self {
            lanes,
            started,
            end: deadline - MARGIN.min(total / 8),
            last: lanes.last_run(),
            served_before: lanes.served(&counters),
            own_before,
            waited_before: counters.waited,
            checkouts: lanes.active(),
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
    ) -> (Evidence, Option<Arc<CheckoutLane<P>>>) {
        let mut checkout = OwnCheckout::NotTried;
        let mut chosen = None;
        let mut pending = 0;
        let mut unresponsive = false;
        let mut holding = 0;
        let mut broken = false;
        for lane in &self.checkouts {
            let found = lane.with_step(|step| {
                holding += u32::from(!matches!(
                    step,
                    CheckoutStep::Waiting | CheckoutStep::Ended(_)
                ));
                broken |= matches!(step, CheckoutStep::Ended(CheckoutEnd::Answered(answered)) if answered.broken);
                pending += u64::from(matches!(
                    step,
                    CheckoutStep::Waiting | CheckoutStep::Holding(_)
                ));
                self.checkout_evidence(step, now)
            });
            unresponsive |= found == OwnCheckout::Unresponsive;
            if rank(found) > rank(checkout) {
                checkout = found;
                chosen = Some(lane.clone());
            }
        }
        let evidence = Evidence {
            checkout,
            dedicated: self.dedicated_evidence(now),
            served: self.served(counters, pending),
            full: !counters.has_room() && counters.open > holding,
            unresponsive,
            broken,
            needs_proof: self.lanes.pool.has_proof(),
        };
        (evidence, chosen)
    }

    fn checkout_evidence(&self, step: &CheckoutStep<P>, now: Instant) -> OwnCheckout {
        match step {
            CheckoutStep::Holding(since) if now.duration_since(*since) >= self.total() => {
                OwnCheckout::Unresponsive
            }
            CheckoutStep::Waiting | CheckoutStep::Holding(_) => OwnCheckout::Waiting,
            // The server ends a query in time. One that is not over much later has hung, and what
            // answered before it answered in another run.
            CheckoutStep::Proving(since) if self.has_hung(*since, now) => OwnCheckout::Unresponsive,
            CheckoutStep::Proving(since) => OwnCheckout::Answered(self.pending_proof(*since, now)),
            CheckoutStep::Ended(end) => match end {
                CheckoutEnd::GaveUp => OwnCheckout::Waiting,
                CheckoutEnd::ReconnectLoop => OwnCheckout::ReconnectLoop,
                CheckoutEnd::Broken(failure, _) => OwnCheckout::Broken(failure.reason()),
                CheckoutEnd::CannotServe(failure) => OwnCheckout::CannotServe(failure.reason()),
                CheckoutEnd::Answered(answered) if answered.forbidden => {
                    OwnCheckout::Forbidden(self.proof(answered))
                }
                CheckoutEnd::Answered(answered) => OwnCheckout::Answered(self.proof(answered)),
            },
        }
    }

    fn dedicated_evidence(&self, now: Instant) -> Dedicated {
        let Some(lane) = &self.dedicated else {
            return Dedicated::NotTried;
        };
        lane.with_step(|step| match step {
            DedicatedStep::Connecting | DedicatedStep::Waiting => Dedicated::Waiting,
            DedicatedStep::Proving(since) if self.has_hung(*since, now) => Dedicated::Waiting,
            DedicatedStep::Proving(since) => Dedicated::Answered(self.pending_proof(*since, now)),
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
        let own = self.lanes.shared.own_served() + pending - self.own_before;
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
