//! [`RedisCheck`]: the check on a pool of `redis` connections.

mod error_code;
mod memory;
mod redis_check;
mod requirements;

pub use self::redis_check::{RedisCheck, redis};
