//! `deadpool_postgres::Pool`.

use deadpool_postgres::{ClientWrapper, Manager, Object};
use tokio_postgres::Error;

use crate::deadpool_pool::{Deadpool, PingManager};

/// The app's pool. With `RecyclingMethod::Fast` its test does not ask the server: then `tested` is `None`.
pub type DeadpoolPostgres = Deadpool<Manager, Object>;

impl PingManager for Manager {
    async fn ping(client: &mut ClientWrapper) -> Result<(), Error> {
        client.check_connection().await
    }
}
