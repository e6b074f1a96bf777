//! The check on a pool: evidence first, then one pure judge.

mod bb8;
mod check;
mod connection_pool;
mod core;
mod gather;
#[cfg(test)]
mod in_memory;
mod judge;
#[cfg(test)]
mod judge_tests;
mod lanes;
mod options;

pub use self::check::{PingFuture, PoolCheck, pool};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::{
    bb8::Server, connection_pool::PingError, core::PoolCore, options::pool_options,
};
