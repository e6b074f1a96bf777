//! The check on a pool in memory, without a server.

mod pool;

mod tests;
