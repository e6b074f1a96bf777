//! The task of one checkout.

use std::{future::poll_fn, pin::pin, sync::atomic::Ordering, task::Poll, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    super::connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
    lane::Lane,
    shared::{RECHECK_EVERY, SharedState, ping},
};
use crate::{check::CheckResult, report::Failure};

pub(crate) type CheckoutLane<P> = Lane<CheckoutStep<P>>;

pub(crate) enum CheckoutStep<P: ConnectionPool> {
    Waiting,
    /// Since this instant the pool tests a connection, or the check pings it.
    Holding(Instant),
    /// The connection answers, and the proof began at this instant.
    Proving(Instant),
    Ended(CheckoutEnd<P>),
}

pub(crate) enum CheckoutEnd<P: ConnectionPool> {
    /// The pool gave up, or the checkout would have queued with other callers.
    GaveUp,
    /// The pool opened connection after connection, and each failed its test.
    ReconnectLoop,
    /// No connection answered. With repair the connection is kept for its replacement.
    Broken(Failure, Option<P::Checkout>),
    CannotServe(Failure),
    Answered(Answered),
}

/// What a connection that answered has shown.
pub(crate) struct Answered {
    /// Whether the ping, and only the ping, was refused.
    pub(crate) forbidden: bool,
    /// Whether connections were found broken before, in a pool that keeps them.
    pub(crate) broken: bool,
    pub(crate) proof: Option<CheckResult>,
    /// How long the proof could take.
    pub(crate) had: Duration,
}

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

impl<P: ConnectionPool> CheckoutLane<P> {
    /// Checks connections out until one answers, and proves on it what the check requires.
    pub(super) async fn examine(
        &self,
        pool: &P,
        shared: &SharedState,
        plan: CheckoutPlan,
    ) -> CheckoutEnd<P> {
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
            let mut checkout = match self.check_out(pool, shared, &before).await {
                Ok(checkout) => checkout,
                Err(_) if answered.is_some() => break,
                Err(end) => return end,
            };
            let ping = if pool.checkout_test() == CheckoutTest::ServerAnswered {
                Ok(())
            } else {
                self.set_step(shared, CheckoutStep::Holding(Instant::now()));
                ping(pool, &mut checkout).await
            };
            let answers = matches!(ping, Ok(()) | Err(PingError::Forbidden));
            let mut proof = None;
            let started = Instant::now();
            let ping = if answers && pool.has_proof() && answered.is_none() {
                self.set_step(shared, CheckoutStep::Proving(started));
                match pool.prove(&mut checkout, plan.until).await {
                    Ok(result) => {
                        proof = Some(result);
                        ping
                    }
                    Err(failure) => Err(PingError::Broken(failure)),
                }
            } else {
                ping
            };
            match ping {
                Err(PingError::CannotServe(failure)) => return CheckoutEnd::CannotServe(failure),
                Err(PingError::Broken(failure)) => {
                    if examined == most && answered.is_none() || plan.repair {
                        return CheckoutEnd::Broken(failure, plan.repair.then_some(checkout));
                    }
                    broken = keeps_broken;
                }
                Ok(()) | Err(PingError::Forbidden | PingError::NoReply) => {
                    answered.get_or_insert(Answered {
                        forbidden: ping.is_err(),
                        broken: false,
                        proof,
                        had: plan.until.saturating_duration_since(started),
                    });
                    // The others are examined in doubt only: the run must read this answer in time,
                    // and a busy pool is not waited for.
                    let half =
                        self.started + plan.until.saturating_duration_since(self.started) / 2;
                    let examines = keeps_broken && plan.doubt;
                    if !examines || pool.counters().idle == 0 || Instant::now() >= half {
                        break;
                    }
                }
            }
            drop(checkout);
            if answered.is_none() {
                self.set_step(shared, CheckoutStep::Waiting);
            }
        }
        match answered {
            Some(answered) => CheckoutEnd::Answered(Answered { broken, ..answered }),
            None => CheckoutEnd::GaveUp,
        }
    }

    /// Waits for a connection, but not behind other callers and not through a reconnect loop.
    async fn check_out(
        &self,
        pool: &P,
        shared: &SharedState,
        before: &PoolCounters,
    ) -> Result<P::Checkout, CheckoutEnd<P>> {
        let mut check_out = pin!(pool.check_out());
        // Without a test nothing is held while the checkout waits.
        let tests = pool.checkout_test() != CheckoutTest::None;
        let mut first = true;
        loop {
            let mut held = self.is_holding();
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
                self.set_step(shared, CheckoutStep::Holding(Instant::now()));
            } else if !held && self.is_holding() {
                // A test that failed ends the hold: the checkout waits for the next connection.
                self.set_step(shared, CheckoutStep::Waiting);
            }
            match polled {
                Ok(Some(Ok(checkout))) => {
                    if first {
                        shared.saw_no_test.store(true, Ordering::Relaxed);
                    } else if self.is_holding() {
                        shared.saw_test.store(true, Ordering::Relaxed);
                    }
                    shared.own_served.fetch_add(1, Ordering::Relaxed);
                    return Ok(checkout);
                }
                Ok(Some(Err(Some(failure)))) => return Err(CheckoutEnd::Broken(failure, None)),
                Ok(Some(Err(None))) => return Err(CheckoutEnd::GaveUp),
                Ok(None) => return Err(CheckoutEnd::ReconnectLoop),
                // A connection in its test is not given up, however long that takes.
                Err(_) if !self.is_holding() && !pool.counters().has_room() => {
                    return Err(CheckoutEnd::GaveUp);
                }
                Err(_) => {}
            }
        }
    }

    fn is_holding(&self) -> bool {
        self.with_step(|step| matches!(step, CheckoutStep::Holding(_)))
    }
}
