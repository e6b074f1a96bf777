//! Transitions, told to whoever listens.
//!
//! 1. A transition is a change of the status that a dependency shows after a completed
//!    run. A new reason for the same status is none, and neither is what time does alone:
//!    a verdict that grows stale, a run that proves stuck. The app's own turns (started,
//!    draining, maintenance) are none: it makes them itself.
//! 2. All listeners read one [`feed`] at their own pace. It is bounded whatever they do:
//!    the last transition of each dependency stays, and of older ones the newest.
//! 3. Without a listener nothing is added.

mod feed;
#[cfg(test)]
mod feed_properties;
mod hub;
mod transition;

pub(crate) use self::hub::Hub;
pub use self::{hub::Transitions, transition::Transition};
