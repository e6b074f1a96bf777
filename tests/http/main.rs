//! The layer on real servers: matching, access, formats, placement.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod draining;
mod endpoints;
#[cfg(all(feature = "axum", feature = "signal", feature = "tracing"))]
mod examples;
mod format_cache;
mod format_openmetrics;
mod format_query;
mod format_schemas;
mod formats;
mod pass_through;
mod placement;
#[cfg(feature = "grpc")]
mod servers;
mod smuggling;
mod unauthorized_caller;
