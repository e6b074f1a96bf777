//! One dependency: when its check runs, and what is kept of it.
//!
//! 1. [`single_flight`]: at most one run at a time; callers that come meanwhile wait for it.
//! 2. [`result`]: pure. The next last result from the one before and what a run found.
//! 3. [`run`]: one detached run with its deadline, safe against panics.
//!
//! Cancellation: a run belongs to no caller. A caller that gives up its wait frees its place in the
//! queue and changes nothing else. A run ends with the last handle.

pub(crate) mod result;
#[cfg(test)]
mod result_properties;
#[cfg(test)]
mod result_tests;
pub(crate) mod run;
pub(crate) mod single_flight;
#[cfg(all(test, tower_health_loom))]
mod single_flight_model;
mod sync;
