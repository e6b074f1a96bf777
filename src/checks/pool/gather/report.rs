//! From a judgment to the result of the check: message, observations and pool statistics.

use super::{
    super::{
        connection_pool::ConnectionPool,
        judge::{Judgment, Message},
        lanes::{End, Lane, Step},
    },
    evidence::PoolRun,
};
use crate::{
    check::{CheckResult, Outcome},
    report::{PoolStats, Reason, Status},
};

impl<P: ConnectionPool> PoolRun<'_, P> {
    /// The result of the run. `lane`: the checkout that the evidence describes.
    pub(super) fn result(&self, judgment: Judgment, lane: Option<&Lane<P>>) -> CheckResult {
        let mut result = self.judged(judgment, lane);
        let counters = &self.counters;
        let stats = PoolStats::new(counters.max, counters.open, counters.idle);
        let crowded = self
            .options
            .degraded_above
            .is_some_and(|share| f64::from(stats.in_use) > share * f64::from(stats.max));
        if crowded && judgment.status == Status::Up {
            let message = format!("{} connections in use", stats.in_use);
            result = result.map(|up| Outcome {
                observations: up.observations,
                ..Outcome::degraded(Reason::Saturated).message(message)
            });
        }
        result
            .map(|outcome| outcome.pool(stats))
            .map_err(|failure| failure.pool(stats))
    }

    /// The judgment with its message, and with what the proof observed.
    fn judged(&self, judgment: Judgment, lane: Option<&Lane<P>>) -> CheckResult {
        let (lane, message) = match judgment.message {
            Message::None => (None, None),
            Message::Fixed(message) => (None, Some(message)),
            Message::Phase => (None, Some(self.phase())),
            Message::Checkout => (lane, None),
            Message::Dedicated => (self.dedicated.as_deref(), None),
        };
        let shown = lane.and_then(|lane| lane.with_step(|step| shown(step)));
        let mut result = shown.unwrap_or_else(|| match (judgment.status, judgment.reason) {
            (Status::Down, Some(reason)) => Err(reason.into()),
            (_, Some(reason)) => Ok(Outcome::degraded(reason)),
            (_, None) => Ok(Outcome::up()),
        });
        // A login that is refused while the pool serves other callers is degraded.
        if judgment.status == Status::Degraded {
            result = result.or_else(|failure| {
                let message = failure.message_text().cloned().unwrap_or_default();
                Ok(Outcome::degraded(failure.reason()).message(message))
            });
        }
        if let Some(message) = message {
            result = result
                .map(|outcome| outcome.message(message))
                .map_err(|failure| failure.message(message));
        }
        if self.repaired > 0 {
            result = result
                .map(|outcome| outcome.observe("repaired", self.repaired))
                .map_err(|failure| failure.observe("repaired", self.repaired));
        }
        result
    }

    /// What a run without a reply was waiting for.
    fn phase(&self) -> &'static str {
        let mut lanes = self.checkouts.iter().chain(&self.dedicated);
        if lanes.any(|lane| lane.is_proving()) {
            return "waiting for the reply to the check's query";
        }
        let connecting = self.dedicated.iter().any(|lane| lane.is_waiting());
        let holding = self.checkouts.iter().any(|lane| lane.is_holding());
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

/// The error or the result of the proof that a lane ended with.
fn shown<P: ConnectionPool>(step: &Step<P>) -> Option<CheckResult> {
    match step {
        Step::Ended(End::Answered(answered)) => match answered.proof.as_ref()? {
            Ok(outcome) => Some(Ok(outcome.clone())),
            Err(failure) => Some(Err(failure.duplicate())),
        },
        Step::Ended(
            End::Refused(failure) | End::Broken(failure, _) | End::CannotServe(failure),
        ) => Some(Err(failure.duplicate())),
        _ => None,
    }
}
