//! [`RedisCheck`]: the check on a pool of Redis connections.

mod error_code;
mod redis_check;
mod requirements;

pub use self::redis_check::{RedisCheck, redis};
