//! The task of one checkout.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use tokio::time::{Instant, timeout};

use super::{
    super::connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
    lane::{Answered, End, Lane, RECHECK_EVERY, Step},
    slots::{CHECKOUTS, Lanes},
};

/// How a checkout proceeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckoutPlan {
    /// When the proof should have ended.
    pub(crate) until: Instant,
    /// Whether all idle connections are examined, in a pool that keeps broken ones.
    pub(crate) doubt: bool,
    /// Whether a broken connection is kept, so that it can be replaced.
    pub(crate) repair: bool,
}

impl<P: ConnectionPool> Lanes<P> {
    /// Begins a checkout in a free slot, or joins one that is not `known` to the run yet.
    pub(crate) fn begin_checkout(
        self: &Arc<Self>,
        known: &[Arc<Lane<P>>],
        plan: CheckoutPlan,
    ) -> Option<Arc<Lane<P>>> {
        self.begin(CHECKOUTS, known, |lanes, lane, _| async move {
            (lanes.examine_checkouts(&lane, plan).await, None)
        })
    }

    /// Checks connections out until one answers, and proves on it what the check requires.
    async fn examine_checkouts(&self, lane: &Lane<P>, plan: CheckoutPlan) -> End<P> {
        let pool = &self.pool;
        let before = pool.counters();
        let keeps_broken = pool.keeps_broken();
        // A pool that drops broken connections opens one more after those of now.
        let most = if keeps_broken {
            before.idle.max(1)
        } else {
            before.open + 1
        };
        let mut answered: Option<Answered> = None;
        let mut broken = false;
        for examined in 1..=most {
            let mut checkout = match self.check_out(lane, &before).await {
                Ok(checkout) => checkout,
                Err(_) if answered.is_some() => break,
                Err(end) => return end,
            };
            let tested = pool.checkout_test() == CheckoutTest::ServerAnswered;
            let proved = answered.is_some();
            let shown = lane.examine(pool, &mut checkout, tested, proved, plan.until);
            match shown.await {
                Err(PingError::CannotServe(failure)) => return End::CannotServe(failure),
                Err(error) if plan.repair || examined == most && answered.is_none() => {
                    return End::Broken(error.into(), plan.repair.then_some(checkout));
                }
                Err(_) => broken = keeps_broken,
                Ok(shown) => {
                    answered.get_or_insert(shown);
                    // The others are examined in doubt only: the run must read this answer in time,
                    // and a busy pool is not waited for.
                    let half =
                        lane.started + plan.until.saturating_duration_since(lane.started) / 2;
                    let examines = keeps_broken && plan.doubt;
                    if !examines || pool.counters().idle == 0 || Instant::now() >= half {
                        break;
                    }
                }
            }
            drop(checkout);
            if answered.is_none() {
                lane.set_step(Step::Waiting);
            }
        }
        answered.map_or(End::GaveUp, |answered| {
            End::Answered(Answered { broken, ..answered })
        })
    }

    /// Waits for a connection, but not behind other callers and not through a reconnect loop.
    async fn check_out(
        &self,
        lane: &Lane<P>,
        before: &PoolCounters,
    ) -> Result<P::Checkout, End<P>> {
        let pool = &self.pool;
        let mut check_out = pin!(pool.check_out());
        // Without a test nothing is held while the checkout waits.
        let tests = pool.checkout_test() != CheckoutTest::None;
        let mut first = true;
        loop {
            let mut held = lane.is_holding();
            let mut took = false;
            let polled = poll_fn(|context| {
                let start = pool.counters();
                match check_out.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => {
                        first = false;
                        let now = pool.counters();
                        let taken = u64::from(start.idle.saturating_sub(now.idle));
                        // One that was taken and failed its test at once is not held.
                        let failed = now.invalid.saturating_sub(start.invalid);
                        held = tests && u64::from(held) + taken > failed;
                        took |= taken > 0;
                        // On each wake-up and not by a timer: in 10 ms a loop opens 40 connections.
                        let failed = now.invalid.saturating_sub(before.invalid);
                        match !held && failed > u64::from(before.open) {
                            true => Poll::Ready(None),
                            false => Poll::Pending,
                        }
                    }
                }
            });
            let polled = timeout(RECHECK_EVERY, polled).await;
            if held && took {
                lane.set_step(Step::Holding(Instant::now()));
            } else if !held && lane.is_holding() {
                // A test that failed ends the hold: the checkout waits for the next connection.
                lane.set_step(Step::Waiting);
            }
            match polled {
                Ok(Some(Ok(checkout))) => {
                    if first {
                        self.saw_no_test.store(true, Ordering::Relaxed);
                    } else if lane.is_holding() {
                        self.saw_test.store(true, Ordering::Relaxed);
                    }
                    self.own_served.fetch_add(1, Ordering::Relaxed);
                    return Ok(checkout);
                }
                Ok(Some(Err(Some(failure)))) => return Err(End::Refused(failure)),
                Ok(Some(Err(None))) => return Err(End::GaveUp),
                Ok(None) => return Err(End::ReconnectLoop),
                // A connection in its test is not given up, however long that takes.
                Err(_) if !lane.is_holding() && !pool.counters().has_room() => {
                    return Err(End::GaveUp);
                }
                Err(_) => {}
            }
        }
    }
}
