//! Checks on pools against real servers in every fault.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../helpers/mod.rs"]
mod helpers;
#[path = "../support/mod.rs"]
mod support;

mod answer;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod app;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod callers;
#[cfg(feature = "postgres")]
mod checks_postgres;
#[cfg(feature = "redis")]
mod checks_redis;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod credentials;
#[cfg(feature = "postgres")]
mod faults_postgres;
#[cfg(feature = "redis")]
mod faults_redis;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod frozen;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod harmless;
#[cfg(feature = "postgres")]
mod idle;
#[cfg(feature = "postgres")]
mod pgbouncer;
#[cfg(feature = "pool")]
mod pool;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod replicas;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod silent;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod slow_links;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod soak;
mod support_lateness;
mod support_proxy;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod support_selftest;
#[cfg(feature = "postgres")]
mod tls;
