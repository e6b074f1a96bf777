//! [`Health`]: the handle that owns what is checked and the verdicts.
//!
//! - `builder`: what is checked, and the refusal of what cannot be.
//! - `covers`: which probe looks at which dependencies.
//! - `handle`: the handle itself.
//! - `gather`: one question to several cells: who is fresh, who runs, what comes of it.
//! - `exclude`: the same question without some of them.
//! - `glance`: the status alone, without waiting and without making a report.
//! - `members`: what is checked may change while the app runs.
//! - `refresh`: runs in the background, so that no asker waits.
//! - `rotation`: out of traffic and back: draining, maintenance.
//! - `start`: waiting until the app is ready, or the reason why it is not.
//! - `warning`: settings that cannot work together.

mod builder;
mod covers;
mod exclude;
mod gather;
#[cfg(feature = "grpc")]
mod glance;
mod handle;
mod members;
mod refresh;
mod rotation;
mod start;
mod warning;

pub(crate) use self::gather::Gathering;
#[cfg(feature = "grpc")]
pub(crate) use self::glance::Subject;
pub use self::{
    builder::HealthBuilder,
    handle::Health,
    members::{AddError, AddErrorKind},
    start::NotReady,
    warning::{Warning, WarningKind},
};
