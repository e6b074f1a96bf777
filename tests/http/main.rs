//! The layer on real servers: matching, access, formats, placement.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "axum")]
mod access;
#[cfg(feature = "axum")]
mod access_proxies;
#[cfg(feature = "axum")]
mod announce_draining;
mod busy;
#[cfg(all(feature = "axum", feature = "tracing"))]
mod custom_render;
#[cfg(feature = "axum")]
mod drain_signal;
mod format_cache;
#[cfg(feature = "axum")]
mod format_custom;
#[cfg(all(feature = "axum", feature = "postgres"))]
mod format_openmetrics;
#[cfg(feature = "axum")]
mod format_query;
#[cfg(all(feature = "axum", feature = "postgres", feature = "redis"))]
mod format_schema;
#[cfg(all(feature = "axum", feature = "postgres"))]
mod format_shapes;
#[cfg(feature = "axum")]
mod formats;
mod hostile;
mod hostile_http;
#[cfg(feature = "hyper")]
mod hyper_service;
mod one_dependency;
#[cfg(feature = "html")]
mod page_markup;
mod pass_through;
mod placement_http;
mod placement_limits;
#[cfg(all(feature = "axum", feature = "tracing"))]
mod placement_ports;
#[cfg(feature = "axum")]
mod placement_servers;
#[cfg(feature = "tracing")]
mod probe_marks;
#[cfg(feature = "axum")]
mod unauthorized_caller;
mod with_axum;
mod with_hyper;
mod with_tonic;
mod with_tower;
