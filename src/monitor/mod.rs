//! One dependency: when its check runs, and the last result.
//!
//! 1. [`result`]: pure. The next last result, from the previous one and what a run found.
//! 2. [`single_flight`]: at most one run at a time. Callers that come meanwhile wait for it.
//! 3. [`run`]: one detached run with its deadline, safe against panics.
//!
//! Cancellation: a caller that gives up its wait frees its place in the queue and changes nothing else. A run
//! ends with the last handle.

// In the order of their imports.
pub(crate) mod result;
pub(crate) mod single_flight;

pub(crate) mod run;

#[cfg(test)]
mod result_properties;
#[cfg(test)]
mod result_tests;
#[cfg(all(test, tower_health_loom))]
mod single_flight_model;
#[cfg(all(test, not(tower_health_loom)))]
mod single_flight_tests;
