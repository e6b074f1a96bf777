//! [`Health`]: the handle that owns what is checked and the last results.
//!
//! - `builder`, `warning`: what is checked, the refusal of what cannot be, and settings that hardly work.
//! - `lifecycle`, `epoch`: starting, maintenance, draining, and what makes an answer outdated.
//! - `events`: transitions, to the log and to subscribers.
//! - `state`: one dependency of the handle, its runs and its last result.
//! - `registry`: all of them; they may change while the app runs.
//! - `refresh`: runs in the background.
//! - `evaluate`: from their states to the status of a probe, or to its report.
//! - `glance`: the status alone, for gRPC.
//! - `startup`: waiting until the app is ready, or the reason why it is not.
//! - `signal`: draining on a signal.
//! - `services`, `watch`, `watch_limits`, `closing`: names of gRPC services, open watches and their end.
//! - `handle`: the handle itself.

mod builder;
#[cfg(feature = "grpc")]
mod closing;
mod epoch;
mod evaluate;
mod events;
#[cfg(feature = "grpc")]
mod glance;
#[cfg(all(test, feature = "grpc"))]
mod glance_tests;
mod handle;
mod lifecycle;
mod refresh;
mod registry;
#[cfg(feature = "grpc")]
mod services;
#[cfg(feature = "signal")]
mod signal;
mod startup;
mod state;
mod warning;
#[cfg(feature = "grpc")]
mod watch;
#[cfg(feature = "grpc")]
mod watch_limits;

pub(crate) use self::evaluate::Gathering;
pub use self::{
    builder::HealthBuilder,
    events::{Transition, Transitions},
    handle::Health,
    registry::{AddError, AddErrorKind},
    startup::NotReady,
    warning::{ConfigWarning, ConfigWarningKind},
};
#[cfg(feature = "grpc")]
pub(crate) use self::{
    glance::Subject,
    watch::{Watch, WatchedStatus},
};
