//! [`Redis`]: the check on a pool of `redis` connections.

mod check;
mod classify;

pub use self::check::{Redis, redis};
