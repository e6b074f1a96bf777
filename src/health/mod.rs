//! The handle that owns the dependencies and their last results, its builder, and what it reports to the app.
//!
//! - [`Health`] checks, reports and follows the lifecycle: starting, started, maintenance, draining.
//! - [`Transitions`] are the changes of status, for subscribers.
//! - [`ConfigWarning`]: settings that cannot work together, found by the build.
//! - [`NotReady`] and [`AddError`]: why the app does not start, and why a dependency was not added.

mod builder;
#[cfg(feature = "grpc")]
mod closing;
#[cfg(feature = "grpc")]
mod current_status;
#[cfg(all(test, feature = "grpc"))]
mod current_status_tests;
mod epoch;
mod evaluate;
mod events;
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

pub(crate) use self::evaluate::Evaluation;
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
    current_status::StatusTarget,
    watch::{Watch, WatchedStatus},
};
