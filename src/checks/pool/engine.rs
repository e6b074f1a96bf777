//! The order of steps that tells up, saturated, stuck and down apart.
//!
//! Each arm says what is known at that point. Cancellation at any await leaves
//! nothing behind: a loan goes back to the pool, a connection beside it is closed.

use std::{
    mem,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bb8::{AddError, ManageConnection, Pool};
use tokio::time::Instant;

use super::{
    attempt::{Attempt, attempt},
    backend::{Backend, Loan},
    dedicated::{Dedicated, Refusal},
    evidence::Sample,
    race::{Winner, race, until},
    settings::Settings,
};
use crate::{
    check::{CheckResult, Outcome},
    report::{Reason, Status},
};

/// So much of the budget stays for what follows the last wait.
const MARGIN: Duration = Duration::from_millis(20);

/// A pool, and what is remembered of it from run to run.
pub(in crate::checks) struct Engine<M: ManageConnection> {
    pub(in crate::checks) pool: Pool<M>,
    pub(in crate::checks) settings: Settings,
    dedicated: Dedicated,
    memory: Mutex<Memory>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// The pool did not deliver, and its connections are not to be waited for first.
    mistrust: bool,
    /// When the last run that was up began, and the counters at its end.
    last_up: Option<(Instant, Sample)>,
}

/// One run's instants.
#[derive(Clone, Copy)]
struct Run {
    started: Instant,
    deadline: Instant,
    before: Sample,
}

/// A verdict, and whether the next run may begin with the pool.
struct Found {
    result: CheckResult,
    mistrust: bool,
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
    pub(in crate::checks) async fn look<B: Backend<M>>(&self, backend: &B) -> CheckResult {
        let started = Instant::now();
        let run = Run {
            started,
            deadline: started + self.settings.within,
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
            let third = run.started + self.settings.within / 3;
            match until(third, attempt.as_mut()).await {
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
                            let ended = until(self.patience::<B>(run), attempt.as_mut()).await;
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
            Step::Ended(ended, healed) => self.ended(backend, run, ended, loan, healed).await,
            Step::Asked(fresh, silent) => {
                self.asked(backend, run, fresh, loan.map(|loan| (loan, silent)))
                    .await
            }
        }
    }

    /// The server, and the pool with what is left of the budget: after a failure.
    async fn server_first<B: Backend<M>>(&self, backend: &B, run: Run) -> Found {
        // With connections in the pool these deserve a try even while no other can be made.
        let held = run.before.connections > 0;
        let deadline = if held {
            run.started + self.settings.within * 2 / 3
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

    /// The server is fine. What remains open is whether the pool is, and can be made so.
    async fn server_works<B: Backend<M>>(
        &self,
        backend: &B,
        run: Run,
        fresh: M::Connection,
        loan: Option<(Loan<M>, bool)>,
    ) -> Found {
        if !self.settings.healing {
            drop((fresh, loan));
            return Found::trusted(self.unusable());
        }
        if let Some((mut dead, silent)) = loan {
            // A loan that is still here was silent or dead, while the server is not.
            drop(mem::replace(&mut *dead, fresh));
            return self.replaced(backend, run, dead, silent).await;
        }
        let spare = self.hand_over(fresh);
        let added = u32::from(spare.is_none());
        let mut loan = None;
        let before = Sample::of(&self.pool);
        let ended = until(
            self.patience::<B>(run),
            attempt(&self.pool, backend, &before, &mut loan),
        )
        .await;
        match (ended, loan, spare) {
            (ended @ (Some(Attempt::Gone(_)) | None), Some(mut dead), Some(spare)) => {
                drop(mem::replace(&mut *dead, spare));
                self.replaced(backend, run, dead, ended.is_none()).await
            }
            (Some(Attempt::Gone(_) | Attempt::Storm) | None, ..) => Found::trusted(self.unusable()),
            (Some(ended), loan, _) => self.ended(backend, run, ended, loan, added).await,
        }
    }

    /// The loan works since just now. One that was silent is told of: there may be more.
    async fn replaced<B: Backend<M>>(
        &self,
        backend: &B,
        run: Run,
        loan: Loan<M>,
        silent: bool,
    ) -> Found {
        let mut found = self
            .ended(backend, run, Attempt::Works, Some(loan), 1)
            .await;
        if silent && found.result.is_ok() {
            found.result = Ok(Outcome::degraded(Reason::PoolStuck)
                .message("a connection of the pool's was silent, and was replaced")
                .observe("healed", 1_u32));
        }
        found
    }

    /// The server answered through the pool.
    async fn ended<B: Backend<M>>(
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
    fn refused(&self, refusal: Refusal) -> Found {
        match refusal {
            // The server has no place for one more, and the pool has its places.
            Refusal::Connect(failure)
                if failure.reason() == Reason::Exhausted && self.pool.state().connections > 0 =>
            {
                Found::trusted(Ok(Outcome::degraded(Reason::Exhausted).message(
                    "the server takes no more connections, and the pool's are in use",
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
    fn unusable(&self) -> CheckResult {
        let now = Sample::of(&self.pool);
        if now.idle == 0 && now.connections >= self.pool.config().max_size {
            return saturated();
        }
        Ok(Outcome::degraded(Reason::PoolStuck)
            .message("the server answers on a new connection, the pool's do not"))
    }

    fn tests(&self) -> bool {
        self.pool.config().test_on_check_out
    }

    /// How long the pool may take once the server is known to be fine.
    fn patience<B: Backend<M>>(&self, run: Run) -> Instant {
        let soon = Instant::now() + self.settings.within / 6;
        B::TEST_GIVES_UP
            // A little more, or the check would always stop just before the eviction.
            .map_or(soon, |limit| soon.max(run.started + limit + 2 * MARGIN))
            .min(run.deadline - MARGIN)
    }

    async fn connect<B: Backend<M>>(
        &self,
        backend: &B,
        deadline: Instant,
    ) -> Result<M::Connection, Refusal> {
        self.dedicated
            .connect(&self.pool, backend, deadline - MARGIN)
            .await
    }

    /// The connection back, if the pool has no room for it. One that waits is woken.
    fn hand_over(&self, fresh: M::Connection) -> Option<M::Connection> {
        if !self.settings.healing {
            return Some(fresh);
        }
        match self.pool.add(fresh) {
            Ok(()) | Err(AddError::Broken(_)) => None,
            Err(AddError::NoCapacity(fresh)) => Some(fresh),
        }
    }

    /// Whether the pool's own traffic since the last run proves that the server answers.
    fn traffic_proves(&self, memory: &Memory, run: &Run) -> bool {
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
    fn finish(&self, result: CheckResult, mistrust: bool, started: Instant) -> CheckResult {
        let now = Sample::of(&self.pool);
        let up = matches!(&result, Ok(outcome) if outcome.status() == Status::Up);
        *self.memory() = Memory {
            mistrust,
            last_up: up.then_some((started, now)),
        };
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
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Found {
    fn trusted(result: CheckResult) -> Self {
        let mistrust = result.is_err();
        Self { result, mistrust }
    }
}

fn saturated() -> CheckResult {
    Ok(Outcome::degraded(Reason::Saturated)
        .message("the server answers, and the pool's connections are all in use"))
}

fn saturated_share(now: &Sample) -> Outcome {
    let used = now.connections.saturating_sub(now.idle);
    Outcome::degraded(Reason::Saturated).message(format!("{used} connections in use"))
}
