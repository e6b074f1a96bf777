//! [`Redis`]: the check on a pool of `redis` connections.

mod check;
mod classify;
mod info;
mod question;

pub use self::check::{Redis, redis};
