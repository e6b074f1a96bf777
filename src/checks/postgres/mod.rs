//! [`PostgresCheck`]: the check on a pool of Postgres connections.

// In the order of their imports.
mod replication;
mod sqlstate;

mod postgres_check;

pub use self::postgres_check::{PostgresCheck, postgres};
