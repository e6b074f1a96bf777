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
//! - `services`, `watch`, `watch_limits`, `closing`: names of gRPC services, open watches and their end.
//! - `start`: waiting until the app is ready, or the reason why it is not.
//! - `warning`: settings that cannot work together.

mod builder;
#[cfg(feature = "grpc")]
mod closing;
mod covers;
mod exclude;
mod gather;
#[cfg(feature = "grpc")]
mod glance;
mod handle;
mod members;
mod refresh;
mod rotation;
#[cfg(feature = "grpc")]
mod services;
mod start;
mod warning;
#[cfg(feature = "grpc")]
mod watch;
#[cfg(feature = "grpc")]
mod watch_limits;

pub(crate) use self::gather::Gathering;
pub use self::{
    builder::HealthBuilder,
    handle::Health,
    members::{AddError, AddErrorKind},
    start::NotReady,
    warning::{ConfigWarning, ConfigWarningKind},
};
#[cfg(feature = "grpc")]
pub(crate) use self::{
    glance::Subject,
    watch::{Watch, WatchedStatus},
};
