//! From a judgment to the result of the check: message, observations and pool statistics.

use super::{
    super::{
        connection_pool::{ConnectionPool, PoolCounters},
        judge::{Judgment, Message},
        lanes::{Answered, CheckoutEnd, CheckoutLane, CheckoutStep, DedicatedEnd, DedicatedStep},
    },
    evidence::PoolRun,
};
use crate::{
    check::{CheckResult, Outcome},
    report::{Failure, PoolStats, Reason, Status},
};

impl<P: ConnectionPool> PoolRun<'_, P> {
    /// The result of the run. `lane`: the checkout that the evidence describes.
    pub(super) fn result(
        &self,
        judgment: Judgment,
        lane: Option<&CheckoutLane<P>>,
        counters: &PoolCounters,
        degraded_above: Option<f64>,
    ) -> CheckResult {
        let result = self.judged(judgment, lane);
        let stats = PoolStats::new(counters.max, counters.open, counters.idle);
        let used = counters.open.saturating_sub(counters.idle);
        let crowded =
            degraded_above.is_some_and(|share| f64::from(used) > share * f64::from(counters.max));
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

    /// The judgment with its message, and with what the proof observed.
    fn judged(&self, judgment: Judgment, lane: Option<&CheckoutLane<P>>) -> CheckResult {
        let mut result = match judgment.message {
            Message::Checkout => lane.and_then(checkout_result),
            Message::Dedicated => self.dedicated_result(),
            Message::None | Message::Fixed(_) | Message::Phase => None,
        }
        .unwrap_or_else(|| match (judgment.status, judgment.reason) {
            (Status::Up, _) | (_, None) => Ok(Outcome::up()),
            (Status::Degraded, Some(reason)) => Ok(Outcome::degraded(reason)),
            (_, Some(reason)) => Err(Failure::new(reason)),
        });
        // A login that is refused while the pool serves other callers is degraded.
        if let (Err(failure), Status::Degraded) = (&result, judgment.status) {
            let message = failure.message_text().cloned().unwrap_or_default();
            result = Ok(Outcome::degraded(failure.reason()).message(message));
        }
        let message = match judgment.message {
            Message::Fixed(message) => Some(message),
            Message::Phase => Some(self.phase()),
            _ => None,
        };
        let result = match (result, message) {
            (Ok(outcome), Some(message)) => Ok(outcome.message(message)),
            (Err(failure), Some(message)) => Err(failure.message(message)),
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
            DedicatedStep::Ended(DedicatedEnd::Answered(answered)) => proof_result(answered),
            _ => None,
        })
    }

    /// What a run without a reply was waiting for.
    fn phase(&self) -> &'static str {
        let checkout = |is: fn(&CheckoutStep<P>) -> bool| {
            let mut lanes = self.checkouts.iter();
            lanes.any(|lane| lane.with_step(|step| is(step)))
        };
        let dedicated = |is: fn(&DedicatedStep) -> bool| {
            let lane = self.dedicated.as_ref();
            lane.is_some_and(|lane| lane.with_step(|step| is(step)))
        };
        if checkout(|step| matches!(step, CheckoutStep::Proving(_)))
            || dedicated(|step| matches!(step, DedicatedStep::Proving(_)))
        {
            return "waiting for the reply to the check's query";
        }
        let connecting = dedicated(|step| matches!(step, DedicatedStep::Connecting));
        let holding = checkout(|step| matches!(step, CheckoutStep::Holding(_)));
        match (connecting, holding) {
            (true, true) => {
                "waiting for a reply on a pooled connection, and for a new one to connect and log in"
            }
            (true, false) => "waiting for a new connection to connect and log in",
            (false, true) => "waiting for the reply on a pooled connection",
            (false, false) => "waiting for the server's reply",
        }
    }
}

fn checkout_result<P: ConnectionPool>(lane: &CheckoutLane<P>) -> Option<CheckResult> {
    lane.with_step(|step| match step {
        CheckoutStep::Ended(
            CheckoutEnd::Broken(failure, _) | CheckoutEnd::CannotServe(failure),
        ) => Some(Err(failure.duplicate())),
        CheckoutStep::Ended(CheckoutEnd::Answered(answered)) => proof_result(answered),
        _ => None,
    })
}

fn proof_result(answered: &Answered) -> Option<CheckResult> {
    Some(match answered.proof.as_ref()? {
        Ok(outcome) => Ok(outcome.clone()),
        Err(failure) => Err(failure.duplicate()),
    })
}
