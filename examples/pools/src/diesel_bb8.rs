//! `diesel-async` over `bb8`, through `checks::pool`.

use diesel::{ConnectionError, sql_query};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolError},
};
use tokio_postgres::NoTls;
use tower_health::{
    Failure, Reason,
    checks::{self, CheckoutTest, PingError, PoolCheck},
};

/// The manager of the app's pool.
pub type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

/// Creates the manager. Diesel keeps no source of an error, so its text names the reason.
pub fn manager(url: &str) -> Manager {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(|url| {
        let url = url.to_owned();
        Box::pin(async move {
            let connected = tokio_postgres::connect(&url, NoTls).await;
            let (client, connection) = connected.map_err(connection_error)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        })
    });
    Manager::new_with_config(url, config)
}

/// Creates the check on the app's pool.
pub fn check(pool: bb8::Pool<Manager>) -> PoolCheck<Manager> {
    checks::pool(pool, |connection| {
        Box::pin(async {
            let ping = sql_query("SELECT 1").execute(connection).await;
            ping.map(drop).map_err(PoolError::QueryError)
        })
    })
    .classify_errors(reason)
    // The manager has `RecyclingMethod::Verified`, the default: each checkout is a query.
    .checkout_test(CheckoutTest::ServerAnswered)
}

fn connection_error(error: tokio_postgres::Error) -> ConnectionError {
    let failure = Failure::from(PingError::from(error));
    ConnectionError::BadConnection(failure.reason().to_string())
}

fn reason(error: &PoolError) -> Reason {
    let text = error.to_string();
    let named = Reason::ALL.iter().find(|reason| reason.as_str() == text);
    named.copied().unwrap_or(Reason::Failed)
}
