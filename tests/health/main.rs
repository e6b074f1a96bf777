//! The handle: single flight, cache, start, lifecycle, transitions, metrics.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod consistency;
mod fixtures;
#[cfg(feature = "pool")]
mod fleet;
mod groups;
mod in_process;
mod lifecycle;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod load;
#[cfg(feature = "metrics")]
mod metrics;
mod refresh;
mod registry;
mod report_entry;
mod requirements;
mod runs;
mod runtime_lag;
mod runtimes;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod servers;
mod settings;
#[cfg(feature = "signal")]
mod shutdown_signal;
mod start;
mod subscribe;
#[cfg(feature = "tracing")]
mod transition_log;
mod types;
