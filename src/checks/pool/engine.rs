//! The order of steps that tells up, saturated, stuck and down apart.
//!
//! Each arm says what is known at that point. Cancellation at any await leaves
//! nothing behind: a loan goes back to the pool, a connection beside it is closed.

use std::{pin::pin, sync::Mutex, time::Duration};

use bb8::{ManageConnection, Pool};
use tokio::time::Instant;

use super::{
    attempt::{Attempt, attempt},
    backend::{Backend, Loan},
    dedicated::{Dedicated, Refusal},
    evidence::Sample,
    race::{Winner, race, until},
    settings::Settings,
    verdict::{Found, Memory, saturated},
};
use crate::check::{CheckResult, Outcome};

/// So much of the budget stays for what follows the last wait.
pub(super) const MARGIN: Duration = Duration::from_millis(20);

/// After this long a test at checkout that is bounded gives up and evicts its connection:
/// that of the `redis` driver, and a guarded manager's by default.
const TEST_GIVES_UP: Duration = Duration::from_millis(500);

/// A pool, and what is remembered of it from run to run.
pub(in crate::checks) struct Engine<M: ManageConnection> {
    pub(in crate::checks) pool: Pool<M>,
    pub(in crate::checks) settings: Settings,
    dedicated: Dedicated,
    pub(super) memory: Mutex<Memory>,
}

/// One run's instants, and the pool's counters at its start.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) within: Duration,
    pub(super) before: Sample,
}

impl<M: ManageConnection> Engine<M> {
    pub(in crate::checks) fn new(pool: Pool<M>) -> Self {
        Self {
            pool,
            settings: Settings::default(),
            dedicated: Dedicated::new(),
            memory: Mutex::new(Memory::default()),
        }
    }

    /// One run.
    pub(in crate::checks) async fn look<B: Backend<M>>(
        &self,
        backend: &B,
        deadline: Instant,
    ) -> CheckResult {
        let started = Instant::now();
        let within = deadline.saturating_duration_since(started).mul_f64(0.875);
        let run = Run {
            started,
            deadline: started + within,
            within,
            before: Sample::of(&self.pool),
        };
        let memory = *self.memory();
        if !backend.proves_more() && self.traffic_proves(&memory, &run) {
            let outcome = Outcome::up().observe("evidence", "traffic");
            return self.finish(Ok(outcome), false, started);
        }
        let found = if memory.mistrust {
            self.server_first(backend, run).await
        } else {
            self.pool_first(backend, run).await
        };
        self.finish(found.result, found.mistrust, started)
    }

    /// The pool, and beside it the true cause once that takes too long.
    async fn pool_first<B: Backend<M>>(&self, backend: &B, run: Run) -> Found {
        let mut loan = None;
        let step: Step<M> = {
            let mut attempt = pin!(attempt(&self.pool, backend, &run.before, &mut loan));
            match until(self.pools_turn(run), attempt.as_mut()).await {
                Some(ended) => Step::Ended(ended, 0),
                // Others were served with connections on which the server answered.
                None if self.tests() && Sample::of(&self.pool).served_since(&run.before) > 0 => {
                    Step::Known(Found::trusted(saturated()))
                }
                // No verdict yet. The pool goes on while the true cause is sought.
                None => {
                    let mut fresh = pin!(self.connect(backend, run.deadline));
                    match race(attempt.as_mut(), fresh.as_mut()).await {
                        Winner::First(Attempt::Storm | Attempt::Gone(_)) => {
                            Step::Asked(fresh.await, false)
                        }
                        Winner::First(ended) => Step::Ended(ended, 0),
                        // Without a test the attempt may hang on a silent connection,
                        // which ends it; with one, only the pool can evict that.
                        Winner::Second(Ok(fresh)) if self.tests() => {
                            let spare = self.hand_over(fresh);
                            let ended = until(self.patience(run), attempt.as_mut()).await;
                            let spare = spare.and_then(|spare| self.hand_over(spare));
                            match ended {
                                None | Some(Attempt::Storm | Attempt::Gone(_)) => Step::Useless,
                                Some(ended) => Step::Ended(ended, u32::from(spare.is_none())),
                            }
                        }
                        Winner::Second(fresh) => Step::Asked(fresh, true),
                    }
                }
            }
        };
        match step {
            Step::Known(found) => found,
            Step::Useless => Found::trusted(self.unusable()),
            Step::Ended(Attempt::Storm | Attempt::Gone(_), _) => {
                let fresh = self.connect(backend, run.deadline).await;
                self.asked(backend, run, fresh, loan.map(|loan| (loan, false)))
                    .await
            }
            Step::Ended(ended, healed) => {
                self.memory().pool_took = run.started.elapsed();
                self.ended(backend, run, ended, loan, healed).await
            }
            Step::Asked(fresh, silent) => {
                self.asked(backend, run, fresh, loan.map(|loan| (loan, silent)))
                    .await
            }
        }
    }

    /// How long the pool has until the true cause is sought beside it.
    ///
    /// A third of the budget, and more where a round trip is known to be slow: a
    /// distant server is no reason for a connection with each check.
    fn pools_turn(&self, run: Run) -> Instant {
        let within = run.within;
        let slow = self.memory().pool_took * 2;
        run.started + slow.clamp(within / 3, within * 2 / 3)
    }

    /// The server, and the pool with what is left of the budget: after a failure.
    async fn server_first<B: Backend<M>>(&self, backend: &B, run: Run) -> Found {
        // With connections in the pool these deserve a try even while no other can be made.
        let held = run.before.connections > 0;
        let deadline = if held {
            run.started + run.within * 2 / 3
        } else {
            run.deadline
        };
        match self.connect(backend, deadline).await {
            Err(Refusal::Connect(failure)) if held => {
                let mut loan = None;
                let ended = until(
                    run.deadline - MARGIN,
                    attempt(&self.pool, backend, &run.before, &mut loan),
                )
                .await;
                match ended {
                    Some(ended @ (Attempt::Works | Attempt::Alive(_))) => {
                        self.ended(backend, run, ended, loan, 0).await
                    }
                    _ => self.refused(Refusal::Connect(failure)),
                }
            }
            fresh => self.asked(backend, run, fresh, None).await,
        }
    }

    /// What the connection beside the pool said.
    async fn asked<B: Backend<M>>(
        &self,
        backend: &B,
        run: Run,
        fresh: Result<M::Connection, Refusal>,
        loan: Option<(Loan<M>, bool)>,
    ) -> Found {
        match fresh {
            Ok(fresh) => self.server_works(backend, run, fresh, loan).await,
            Err(refusal) => self.refused(refusal),
        }
    }

    pub(super) fn tests(&self) -> bool {
        self.pool.config().test_on_check_out
    }

    /// How long the pool may take once the server is known to be fine.
    pub(super) fn patience(&self, run: Run) -> Instant {
        let soon = Instant::now() + run.within / 6;
        let patience = if self.tests() {
            // A little more, or the check would always stop just before the eviction,
            // and put the silent connection back as a good one.
            soon.max(run.started + TEST_GIVES_UP + 2 * MARGIN)
        } else {
            soon
        };
        patience.min(run.deadline - MARGIN)
    }

    pub(super) async fn connect<B: Backend<M>>(
        &self,
        backend: &B,
        deadline: Instant,
    ) -> Result<M::Connection, Refusal> {
        self.dedicated
            .connect(&self.pool, backend, deadline - MARGIN)
            .await
    }
}

/// Where the pool's turn and the question beside it ended.
enum Step<M: ManageConnection> {
    Known(Found),
    /// The attempt ended by itself, and so many connections were handed over.
    Ended(Attempt, u32),
    /// The connection beside the pool has its answer, and the attempt is cut short.
    /// What the loan is then: silent, or known to be dead.
    Asked(Result<M::Connection, Refusal>, bool),
    /// The server works, and the attempt came to nothing.
    Useless,
}
