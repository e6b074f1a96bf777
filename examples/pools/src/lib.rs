//! Checks on pools that are not `bb8` pools: adapters to copy, each at most 60 lines.
//!
//! `tests/` runs them on real servers through the same faults as the tests of the crate.

pub mod connection_manager;
pub mod deadpool_pool;
pub mod deadpool_postgres_pool;
pub mod deadpool_redis_pool;
pub mod diesel_bb8;
pub mod sqlx_postgres;
pub mod tested_checkouts;
