//! The handle: single flight, cache, start, lifecycle, transitions, metrics.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod cancellation;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod cost_bound;
mod failures;
#[cfg(feature = "pool")]
mod fleet;
mod groups;
mod lifecycle;
mod maintenance;
#[cfg(feature = "metrics")]
mod metrics;
mod one_story;
mod refresh;
mod report_entry;
mod requirements;
mod run_time;
mod run_time_races;
mod runtime_lag;
mod runtimes;
mod settings_extremes;
mod settings_warnings;
#[cfg(feature = "signal")]
mod shutdown_signal;
mod start;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod start_servers;
#[cfg(feature = "postgres")]
mod storm;
mod subscribe;
#[cfg(feature = "tracing")]
mod transition_log;
mod types;
