//! [`Postgres`]: the check on a pool of `tokio_postgres` connections.

mod check;
mod classify;

pub use self::check::{Postgres, postgres};
