//! What is said in the end, and remembered for the next run.

use bb8::ManageConnection;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use super::{
    attempt::Attempt,
    backend::{Backend, Loan},
    dedicated::Refusal,
    engine::{Engine, MARGIN, Run},
    evidence::Sample,
};
use crate::{
    check::{CheckResult, Outcome},
    report::{Reason, Status},
};

/// A verdict, and whether the next run may begin with the pool.
pub(super) struct Found {
    pub(super) result: CheckResult,
    pub(super) mistrust: bool,
}

/// What one run leaves to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// The pool did not deliver, and its connections are not to be waited for first.
    pub(super) mistrust: bool,
    /// When the last run that was up began, and the counters at its end.
    pub(super) last_up: Option<(Instant, Sample)>,
    /// How long the pool took when it last delivered a connection that works.
    pub(super) pool_took: Duration,
}

impl<M: ManageConnection> Engine<M> {
    /// The server answered through the pool.
    pub(super) async fn ended<B: Backend<M>>(
        &self,
        backend: &B,
        run: Run,
        ended: Attempt,
        loan: Option<Loan<M>>,
        healed: u32,
    ) -> Found {
        let result = match (ended, loan) {
            (Attempt::Works, Some(loan)) if backend.proves_more() => {
                backend.prove(loan, run.deadline - MARGIN).await
            }
            (Attempt::Works, _) => Ok(Outcome::up()),
            (Attempt::Alive(outcome), _) => Ok(outcome),
            (Attempt::Down(failure) | Attempt::Gone(failure), _) => Err(failure),
            (Attempt::Storm, _) => self.unusable(),
        };
        Found::trusted(match (result, healed) {
            (result, 0) => result,
            (Ok(outcome), healed) => Ok(outcome.observe("healed", healed)),
            (Err(failure), healed) => Err(failure.observe("healed", healed)),
        })
    }

    /// No connection that works, in the pool or beside it.
    pub(super) fn refused(&self, refusal: Refusal) -> Found {
        match refusal {
            // The server answers, and those that the pool holds go on working.
            Refusal::Connect(failure)
                if matches!(failure.reason(), Reason::Exhausted | Reason::Auth)
                    && self.pool.state().connections > 0 =>
            {
                let outcome = Outcome::degraded(failure.reason());
                Found::trusted(Ok(outcome.message(
                    "the server takes no new connection, and the pool's are in use",
                )))
            }
            Refusal::Connect(failure) | Refusal::Server(failure) => Found {
                result: Err(failure),
                mistrust: true,
            },
            // Not to be found out by way of the pool again: there it costs a storm.
            Refusal::Alive(outcome) => Found {
                result: Ok(outcome),
                mistrust: self.tests(),
            },
        }
    }

    /// The server works, and the pool gives nothing.
    pub(super) fn unusable(&self) -> CheckResult {
        let now = Sample::of(&self.pool);
        if now.idle == 0 && now.connections >= self.pool.config().max_size {
            return saturated();
        }
        Ok(Outcome::degraded(Reason::PoolStuck)
            .message("the server answers on a new connection, the pool's do not"))
    }

    /// Whether the pool's own traffic since the last run proves that the server answers.
    pub(super) fn traffic_proves(&self, memory: &Memory, run: &Run) -> bool {
        let (Some(window), Some((when, then))) = (self.settings.trust_traffic, &memory.last_up)
        else {
            return false;
        };
        self.tests()
            && run.started.saturating_duration_since(*when) <= window
            && run.before.served_since(then) > 0
            && !run.before.trouble_since(then)
    }

    /// Remembers the verdict and adds the pool's numbers.
    pub(super) fn finish(
        &self,
        result: CheckResult,
        mistrust: bool,
        started: Instant,
    ) -> CheckResult {
        let now = Sample::of(&self.pool);
        let up = matches!(&result, Ok(outcome) if outcome.status() == Status::Up);
        let mut memory = self.memory();
        memory.mistrust = mistrust;
        memory.last_up = up.then_some((started, now));
        drop(memory);
        let numbers = now.numbers(self.pool.config().max_size);
        match result {
            Ok(outcome) if up && self.is_crowded(&now) => {
                let mut crowded = saturated_share(&now).pool(numbers);
                crowded.observations.values = outcome.observations.values;
                Ok(crowded)
            }
            Ok(outcome) => Ok(outcome.pool(numbers)),
            Err(failure) => Err(failure.pool(numbers)),
        }
    }

    fn is_crowded(&self, now: &Sample) -> bool {
        let max = self.pool.config().max_size;
        let used = now.connections.saturating_sub(now.idle);
        self.settings
            .degraded_above
            .is_some_and(|share| f64::from(used) > share * f64::from(max))
    }

    /// Held for a copy only. A panic cannot leave it half-written.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// The pool was not at fault, and goes first again.
    pub(super) fn trusted(result: CheckResult) -> Self {
        Self {
            result,
            mistrust: false,
        }
    }
}

pub(super) fn saturated() -> CheckResult {
    Ok(Outcome::degraded(Reason::Saturated)
        .message("the server answers, and the pool's connections are all in use"))
}

fn saturated_share(now: &Sample) -> Outcome {
    let used = now.connections.saturating_sub(now.idle);
    Outcome::degraded(Reason::Saturated).message(format!("{used} connections in use"))
}
