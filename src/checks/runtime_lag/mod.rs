//! Whether the app's async runtime still runs what it is given.
//!
//! - `check`: the verdict, from what was seen last.
//! - `watchdog`: a thread of its own that looks, since a task could not look at its own runtime.
//! - `standstill`: how long each worker thread has not moved; pure.
//! - `window`: the worst of the last while; pure.

mod check;
mod standstill;
mod watchdog;
mod window;

pub use self::check::RuntimeLag;
