//! [`Postgres`]: the check on a pool of `tokio_postgres` connections.

mod check;
mod classify;
mod question;
mod role;

pub use self::check::{Postgres, postgres};
