//! Checks on pools against real servers in every fault.
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../support/mod.rs"]
mod support;

mod answer;
mod app;
mod checks_connection_pool;
mod checks_postgres;
mod checks_redis;
mod custom_pool;
mod fault_rows;
mod faults_postgres;
mod faults_redis;
mod harmless;
mod logins;
mod pgbouncer;
mod replicas;
mod silent;
mod slow_links;
mod soak;
mod transactions;
