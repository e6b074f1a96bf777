//! [`PostgresCheck`]: the check on a pool of `tokio_postgres` clients.

mod postgres_check;
mod replication;
mod requirements;
mod sqlstate;

pub use self::postgres_check::{PostgresCheck, postgres};
