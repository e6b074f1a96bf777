//! [`RuntimeLag`]: whether the app's async runtime still runs its tasks.
//!
//! - `watchdog`: a thread that measures from outside, since a task cannot measure its own runtime.
//! - `runtime_lag_check`: the result, from the last measurements.

// In the order of their imports.
mod watchdog;

mod runtime_lag_check;

pub use self::runtime_lag_check::RuntimeLag;
