//! How a verdict comes to be and how long it serves.
//!
//! 1. [`verdict`]: pure. The next verdict from the last one and a run's result.
//! 2. [`period`]: pure. How long a verdict serves.
//! 3. [`flight`]: at most one run at a time; who asks meanwhile waits for it.
//! 4. [`run`]: one detached run with its deadline, safe against panics.
//!
//! All of it comes together in a [`Cell`](crate::cell::Cell) for each dependency.
//!
//! Cancellation: a run belongs to nobody who asked for it. An asker that gives
//! up takes its own place in the queue along and nothing else.

pub(crate) mod flight;
mod period;
pub(crate) mod run;
mod sync;
pub(crate) mod verdict;
#[cfg(test)]
mod verdict_properties;
#[cfg(test)]
mod verdict_tests;
