//! Whether the app's async runtime still runs its tasks.
//!
//! - `check`: the result, from what was measured last.
//! - `watchdog`: a thread of its own that measures, since a task cannot measure its own runtime.
//! - `window`: the worst of the last while; pure.

mod check;
mod watchdog;
mod window;

pub use self::check::RuntimeLag;
