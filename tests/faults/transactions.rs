//! Pooled connections on which the app left a transaction open: the check leaves it as it is.

use bb8::Pool;
use tokio_postgres::error::SqlState;
use tower_health::{
    Reason,
    checks::{self, PostgresCheck},
};

use crate::{
    app::{PostgresManager, UP, assert_run, degraded, hold, postgres_pool},
    support::Postgres,
};

/// Checks of each kind that does not need a role.
fn checks_on(pool: &Pool<PostgresManager>) -> [PostgresCheck<PostgresManager>; 4] {
    let plain = checks::postgres(pool.clone());
    [
        plain.clone(),
        plain.clone().read_write(),
        plain.clone().query("SELECT 1"),
        plain.query("SELECT 1").expect_value("1"),
    ]
}

/// Runs statements of the app on the one connection of the pool.
async fn execute(pool: &Pool<PostgresManager>, sql: &str) -> Result<(), tokio_postgres::Error> {
    hold(pool, 1).await[0].batch_execute(sql).await
}

/// `statement_timeout` as the transaction on the connection has it, and that transaction.
async fn limit_and_transaction(pool: &Pool<PostgresManager>) -> (String, String) {
    let connection = hold(pool, 1).await;
    let sql = "SELECT current_setting('statement_timeout'), pg_current_xact_id()::text";
    let row = connection[0].query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_stays_as_it_is() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        for (left, limit) in [
            ("BEGIN", "0"),
            ("SET statement_timeout = '17s'; BEGIN", "17s"),
            // That is not a server without writes.
            ("BEGIN READ ONLY", "0"),
        ] {
            let pool = postgres_pool(server.config(), 1, tested);
            execute(&pool, left).await.unwrap();
            let before = limit_and_transaction(&pool).await;
            assert_eq!(before.0, limit);
            for check in checks_on(&pool) {
                let context = format!("tested {tested}, {left}");
                assert_run(&check, UP, &context).await;
                assert_eq!(limit_and_transaction(&pool).await, before, "{context}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_left_open_is_not_rolled_back() {
    let server = Postgres::start().await;
    let rejected = degraded(Reason::Rejected);
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        execute(&pool, "BEGIN; SELECT 1 / 0").await.unwrap_err();
        for (check, expected) in checks_on(&pool)
            .iter()
            .zip([UP, rejected, rejected, rejected])
        {
            assert_run(check, expected, &format!("tested {tested}")).await;
            let error = execute(&pool, "SELECT 1").await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        }
    }
}
