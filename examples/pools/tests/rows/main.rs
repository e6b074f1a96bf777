//! The rows of the crate's fault tests, through each adapter, on real servers.
//!
//! `checks::postgres` and `checks::redis` on `bb8` pools set what each row should report. A pool whose test does
//! not ask the server is compared with a `bb8` pool without a test.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

#[path = "../../../../tests/faults/answer.rs"]
mod answer;
#[path = "../../../../tests/support/mod.rs"]
mod support;

mod postgres;
mod postgres_pools;
mod redis;
mod redis_pools;
mod row;
