//! The handle to the health of the app, its builder, and what it reports to the app.
//!
//! - [`Health`] runs the checks, caches the results and holds the lifecycle: starting, started, maintenance,
//!   draining.
//! - [`Transitions`] are the changes of the displayed status, for subscribers.
//! - [`ConfigWarning`] reports settings that cannot work together.
//! - [`NotReady`] and [`AddError`] are the errors of an app that is not ready, and of a dependency that was not added.

// A file imports those above it only.
#[cfg(feature = "grpc")]
mod stream_shutdown;
mod transition;
mod warning;

mod context;
#[cfg(feature = "tracing")]
mod run_span;
mod state;

#[cfg(feature = "grpc")]
mod grpc_settings;
mod registry;
#[cfg(feature = "grpc")]
mod watches;

mod refresh;

mod handle;

mod builder;
mod lifecycle;
#[cfg(feature = "signal")]
mod signal;

mod evaluate;
mod startup;
mod subscribe;

#[cfg(feature = "grpc")]
mod current_status;
#[cfg(feature = "grpc")]
mod services;
#[cfg(feature = "grpc")]
mod watch;

pub(crate) use self::evaluate::Evaluation;
pub use self::{
    builder::HealthBuilder,
    handle::Health,
    registry::{AddError, AddErrorKind},
    startup::NotReady,
    subscribe::Transitions,
    transition::Transition,
    warning::{ConfigWarning, ConfigWarningKind},
};
#[cfg(feature = "grpc")]
pub(crate) use self::{current_status::StatusTarget, watch::Watch, watches::WatchedStatus};
