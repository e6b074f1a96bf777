//! The server works and the pool does not: what can be done about it.

use std::mem;

use bb8::{AddError, ManageConnection};

use super::{
    attempt::{Attempt, attempt},
    backend::{Backend, Loan},
    engine::{Engine, Run},
    evidence::Sample,
    race::until,
    verdict::Found,
};
use crate::{check::Outcome, report::Reason};

/// Connections that one run puts in the place of dead ones, beside the first.
const MOST_REPLACED: u32 = 2;

impl<M: ManageConnection> Engine<M> {
    /// The server is fine. What remains open is whether the pool is, and can be made so.
    pub(super) async fn server_works<B: Backend<M>>(
        &self,
        backend: &B,
        run: Run,
        fresh: M::Connection,
        loan: Option<(Loan<M>, bool)>,
    ) -> Found {
        if let Some((mut dead, silent)) = loan {
            if !self.settings.healing {
                drop((fresh, dead));
                return Found::trusted(self.unusable());
            }
            // A loan that is still here was silent or dead, while the server is not.
            drop(mem::replace(&mut *dead, fresh));
            return self.replaced(backend, run, dead, silent).await;
        }
        let spare = self.hand_over(fresh);
        let added = u32::from(spare.is_none());
        let mut loan = None;
        let before = Sample::of(&self.pool);
        let ended = until(
            self.patience(run),
            attempt(&self.pool, backend, &before, &mut loan),
        )
        .await;
        match (ended, loan, spare) {
            (ended @ (Some(Attempt::Gone(_)) | None), Some(mut dead), Some(spare))
                if self.settings.healing =>
            {
                drop(mem::replace(&mut *dead, spare));
                self.replaced(backend, run, dead, ended.is_none()).await
            }
            (Some(Attempt::Gone(_) | Attempt::Storm) | None, ..) => Found::trusted(self.unusable()),
            (Some(ended), loan, _) => self.ended(backend, run, ended, loan, added).await,
        }
    }

    /// The loan works since just now, in the place of one that was silent or dead.
    async fn replaced<B: Backend<M>>(
        &self,
        backend: &B,
        run: Run,
        loan: Loan<M>,
        silent: bool,
    ) -> Found {
        if !silent {
            let (others, healed) = self.replace_others(backend, run).await;
            let works = Attempt::Works;
            let found = self
                .ended(backend, run, works, Some(loan), 1 + healed)
                .await;
            drop(others);
            return found;
        }
        let works = Attempt::Works;
        let mut found = self.ended(backend, run, works, Some(loan), 1).await;
        if found.result.is_ok() {
            // There may be more of them, and each costs the app a wait.
            found.result = Ok(Outcome::degraded(Reason::PoolStuck)
                .message("a connection of the pool's was silent, and was replaced")
                .observe("healed", 1_u32));
        }
        found
    }

    /// One dead connection that the pool keeps is seldom alone: the server was restarted.
    ///
    /// Looks at the idle ones, all held meanwhile so that none comes twice. The app finds
    /// what is left after [`MOST_REPLACED`] when later runs come to it.
    async fn replace_others<B: Backend<M>>(&self, backend: &B, run: Run) -> (Vec<Loan<M>>, u32) {
        let mut looked_at = Vec::new();
        let mut replaced = 0;
        let soon = run.started + run.within * 2 / 3;
        while replaced < MOST_REPLACED && self.pool.state().idle_connections > 0 {
            let mut loan = None;
            let now = Sample::of(&self.pool);
            let ended = until(soon, attempt(&self.pool, backend, &now, &mut loan)).await;
            let Some(mut loan) = loan else { break };
            match ended {
                Some(Attempt::Works) => {}
                Some(Attempt::Gone(_)) => match self.connect(backend, soon).await {
                    Ok(fresh) => {
                        drop(mem::replace(&mut *loan, fresh));
                        replaced += 1;
                    }
                    Err(_) => break,
                },
                _ => break,
            }
            looked_at.push(loan);
        }
        (looked_at, replaced)
    }

    /// The connection back, if the pool has no room for it. One that waits is woken.
    pub(super) fn hand_over(&self, fresh: M::Connection) -> Option<M::Connection> {
        if !self.settings.healing {
            return Some(fresh);
        }
        match self.pool.add(fresh) {
            Ok(()) | Err(AddError::Broken(_)) => None,
            Err(AddError::NoCapacity(fresh)) => Some(fresh),
        }
    }
}
