//! One run: gathers evidence until it suffices or the deadline comes.
//!
//! 1. `evidence`: reads the lanes and the pool's counters, and changes nothing.
//! 2. `report`: the judgment as the result of the check, with its message and observations.
//! 3. `run`: begins what is due, waits, and ends the run.

// In the order of their imports.
mod evidence;

mod report;

mod run;

pub(super) use self::{evidence::PoolOptions, run::run};
