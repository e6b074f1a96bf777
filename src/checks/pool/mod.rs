//! The check on a pool: evidence first, then one pure judge.

mod bb8;
mod check;
mod connection_pool;
mod core;
mod gather;
mod judge;
mod lanes;
mod sqlstate_code;
#[cfg(test)]
mod tests;

#[cfg(feature = "postgres")]
pub(super) use self::sqlstate_code::{failure_of_code, is_of_connection as code_is_of_connection};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::{
    bb8::Server,
    core::{Bb8Core, pool_check},
};
pub use self::{
    check::{ConnectionPoolCheck, PingFuture, PoolCheck, connection_pool, pool},
    connection_pool::{CheckoutTest, ConnectionPool, PingError, PoolCounters},
};
