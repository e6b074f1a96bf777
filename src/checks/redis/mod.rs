//! [`RedisCheck`]: the check on a pool of Redis connections.

// In the order of their imports.
mod error_code;

mod redis_check;

pub use self::redis_check::{RedisCheck, redis};
