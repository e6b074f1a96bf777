//! Roles, lag, and connections on which the app left a transaction open.

use std::time::Duration;

use bb8::Pool;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_postgres::error::SqlState;
use tower_health::{
    Reason,
    checks::{self, PostgresCheck},
};

use crate::{
    app::{PostgresManager, SOON, UP, assert_run, degraded, hold, postgres_pool, run},
    support::{Postgres, wait_until},
};

/// Further behind than a busy machine makes a standby.
const MOST_LAG: Duration = Duration::from_secs(2);

/// A primary with a table, and a standby that has replayed it.
async fn replicated() -> (Postgres, Postgres) {
    let primary = Postgres::start().await;
    create_table(&primary).await;
    let standby = Postgres::builder().standby_of(&primary).start().await;
    wait_until("the standby replays", SOON, async || {
        rows_of(&standby).await == Some(0)
    })
    .await;
    (primary, standby)
}

async fn create_table(server: &Postgres) {
    let sql = "CREATE TABLE written (number int)";
    server.client().await.batch_execute(sql).await.unwrap();
}

/// Committed rows as the server has them.
async fn rows_of(server: &Postgres) -> Option<i64> {
    let sql = "SELECT count(*) FROM written";
    let row = server.client().await.query_one(sql, &[]).await.ok()?;
    Some(row.get(0))
}

/// One transaction on the primary that writes all the time and never ends.
async fn one_long_transaction(primary: &Postgres) -> JoinSet<()> {
    let client = primary.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            let sql = "INSERT INTO written SELECT generate_series(1, 200)";
            client.batch_execute(sql).await.unwrap();
        }
    });
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_up_without_writes_and_in_a_long_transaction() {
    let (primary, standby) = replicated().await;
    let observer = standby.client().await;
    let lag = |most| checks::postgres(standby.pool(1)).max_replication_lag(most);
    let check = lag(MOST_LAG / 2);
    let end = Instant::now() + MOST_LAG;
    while Instant::now() < end {
        assert_run(&check, UP, "no writes").await;
        sleep(Duration::from_millis(100)).await;
    }
    let _writes = one_long_transaction(&primary).await;
    let received = async || {
        let sql = "SELECT pg_last_wal_receive_lsn()::text";
        let row = observer.query_one(sql, &[]).await.unwrap();
        row.get::<_, String>(0)
    };
    // Nothing was committed for longer than the limit, while changes arrive.
    let began = Instant::now();
    let first = received().await;
    wait_until("changes arrive", SOON, async || {
        began.elapsed() > MOST_LAG + Duration::from_millis(500) && received().await != first
    })
    .await;
    let check = lag(MOST_LAG).replica();
    for _ in 0..20 {
        assert_run(&check, UP, "one long transaction").await;
        sleep(Duration::from_millis(50)).await;
    }
    // What arrives from here on is not replayed.
    for (sql, expected) in [
        ("SELECT pg_wal_replay_pause()", degraded(Reason::Behind)),
        ("SELECT pg_wal_replay_resume()", UP),
    ] {
        observer.batch_execute(sql).await.unwrap();
        wait_until(sql, SOON, async || run(&check).await == expected).await;
    }
}

/// Checks of each kind that does not need a role.
fn checks_on(pool: &Pool<PostgresManager>) -> [PostgresCheck<PostgresManager>; 4] {
    let plain = || checks::postgres(pool.clone());
    [
        plain(),
        plain().read_write(),
        plain().query("SELECT 1"),
        plain().query("SELECT 1").expect_value("1"),
    ]
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
    create_table(&server).await;
    for tested in [true, false] {
        // The setting of the session, and the limit of its transaction.
        for (setting, limit) in [("", "0"), ("SET statement_timeout = '17s'", "17s")] {
            let context = format!("tested {tested}, limit {limit}");
            let pool = postgres_pool(server.config(), 1, tested);
            let open = format!("{setting}; BEGIN; INSERT INTO written VALUES (1)");
            hold(&pool, 1).await[0].batch_execute(&open).await.unwrap();
            let before = limit_and_transaction(&pool).await;
            assert_eq!(before.0, limit);
            for check in checks_on(&pool) {
                assert_run(&check, UP, &context).await;
                assert_eq!(limit_and_transaction(&pool).await, before, "{context}");
            }
            let commit = hold(&pool, 1).await[0].batch_execute("COMMIT").await;
            assert!(commit.is_ok(), "{context}: {commit:?}");
        }
    }
    assert_eq!(rows_of(&server).await, Some(4), "all were committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_read_only_is_not_a_read_only_server() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        let left = "BEGIN READ ONLY";
        hold(&pool, 1).await[0].batch_execute(left).await.unwrap();
        let check = checks::postgres(pool).read_write();
        for _ in 0..2 {
            assert_run(&check, UP, &format!("tested {tested}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_left_open_is_not_rolled_back() {
    let server = Postgres::start().await;
    let pool = postgres_pool(server.config(), 1, true);
    let failed = "BEGIN; SELECT 1 / 0";
    let error = hold(&pool, 1).await[0].batch_execute(failed).await;
    assert!(error.is_err());
    for check in checks_on(&pool) {
        run(&check).await;
        let statement = hold(&pool, 1).await[0].batch_execute("SELECT 1").await;
        let error = statement.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    }
}
