//! The handle: single flight, cache, start, lifecycle, transitions, metrics.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod fixtures;
mod in_process;
mod lifecycle;
#[cfg(feature = "tracing")]
mod log;
#[cfg(feature = "metrics")]
mod metrics;
mod refresh;
mod registry;
mod reports;
mod runs;
mod settings;
mod types;
