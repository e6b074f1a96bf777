//! [`PostgresCheck`]: the check on a pool of Postgres connections.

mod postgres_check;
mod replication;
mod requirements;
mod sqlstate;

pub use self::postgres_check::{PostgresCheck, postgres};
