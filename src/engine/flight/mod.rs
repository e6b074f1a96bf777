//! Single flight: at most one run under way, and everybody who asks meanwhile hears its end.
//!
//! Knows neither tasks nor the clock (a run's start is handed in), so that loom can try every interleaving. A
//! [`Run`] is the right to run: whoever holds it runs, and dropping it, in
//! whatever way (panic, abort, a runtime that shuts down), ends the run and
//! wakes the waiters. No waiter can be lost.
//!
//! - `join`: the place where one asks: the last value will do, or one joins the run, or starts it.
//! - `run`: the right to run.
//! - `wait`: who waits for the end of a run.
//! - `state`: what the three share, under one lock.

mod join;
#[cfg(all(test, tower_health_loom))]
mod model;
mod run;
mod state;
mod wait;

pub(crate) use self::{
    join::{Flight, Joined},
    run::{Published, Run},
    wait::Wait,
};
