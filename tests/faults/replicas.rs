//! Roles, lag, and connections on which the app left a transaction open.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_postgres::error::SqlState;
use tower_health::{Reason, checks};

use crate::{
    answer::{UP, degraded, down},
    app::{PostgresManager, SOON, hold, postgres_pool, run, warm},
    support::{Postgres, judged_on_time, wait_until},
};

/// Further behind than a busy machine makes a standby.
const MOST_LAG: Duration = Duration::from_secs(2);

/// A primary with a table, and a standby that has replayed it.
async fn replicated() -> (Postgres, Postgres) {
    let primary = Postgres::start().await;
    let sql = "CREATE TABLE written (number int)";
    primary.client().await.batch_execute(sql).await.unwrap();
    let standby = Postgres::builder().standby_of(&primary).start().await;
    wait_until("the standby replays", SOON, async || {
        rows_of(&standby).await == Some(0)
    })
    .await;
    (primary, standby)
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
async fn a_standby_is_up_during_one_long_transaction() {
    let (primary, standby) = replicated().await;
    let observer = standby.client().await;
    let _writes = one_long_transaction(&primary).await;
    let received = async || {
        let sql = "SELECT pg_last_wal_receive_lsn()::text";
        observer
            .query_one(sql, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
    };
    // Nothing was committed for longer than the limit, while changes keep coming.
    let began = Instant::now();
    let first = received().await;
    wait_until("changes come in", SOON, async || {
        began.elapsed() > MOST_LAG + Duration::from_millis(500) && received().await != first
    })
    .await;
    let pool = standby.pool(1);
    let check = checks::postgres(pool)
        .replica()
        .max_replication_lag(MOST_LAG);
    for round in 0..30 {
        let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
        assert_eq!(found, UP, "run {round}");
        sleep(Duration::from_millis(50)).await;
    }
    // What was received is not replayed from here on.
    let pause = "SELECT pg_wal_replay_pause()";
    observer.batch_execute(pause).await.unwrap();
    wait_until("the standby is behind", SOON, async || {
        run(&check).await == degraded(Reason::Behind)
    })
    .await;
    let resume = "SELECT pg_wal_replay_resume()";
    observer.batch_execute(resume).await.unwrap();
    wait_until("the standby has caught up", SOON, async || {
        run(&check).await == UP
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_of_a_primary_without_writes_is_level() {
    let (_primary, standby) = replicated().await;
    let check = checks::postgres(standby.pool(1)).max_replication_lag(MOST_LAG);
    for round in 0..12 {
        let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
        assert_eq!(found, UP, "run {round}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_read_only_is_not_a_read_only_server() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        warm(&pool, 1).await;
        let check = checks::postgres(pool.clone()).read_write();
        let left = "BEGIN READ ONLY";
        hold(&pool, 1).await[0].batch_execute(left).await.unwrap();
        for round in 0..2 {
            let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
            assert_eq!(found, UP, "tested {tested}, run {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_default_is_read_only() {
    let server = Postgres::builder()
        .setting("default_transaction_read_only", "on")
        .start()
        .await;
    let check = checks::postgres(server.pool(1)).read_write();
    let is_right = |found: &_| *found == down(Reason::ReadOnly);
    let found = judged_on_time(async || run(&check).await, is_right).await;
    assert_eq!(found, down(Reason::ReadOnly));
}

/// The setting as the transaction on the pool's one connection has it, and that transaction.
async fn limit_and_transaction(pool: &bb8::Pool<PostgresManager>) -> (String, String) {
    let connection = hold(pool, 1).await;
    let sql = "SELECT current_setting('statement_timeout'), pg_current_xact_id()::text";
    let row = connection[0].query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Checks a connection on which the app left a transaction open, after `setting`.
async fn transaction_left_open(setting: &str, limit: &str) {
    let server = Postgres::start().await;
    let table = "CREATE TABLE written (number int)";
    server.client().await.batch_execute(table).await.unwrap();
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        let open = format!("{setting}; BEGIN; INSERT INTO written VALUES (1)");
        hold(&pool, 1).await[0].batch_execute(&open).await.unwrap();
        let before = limit_and_transaction(&pool).await;
        assert_eq!(before.0, limit);
        for check in [
            checks::postgres(pool.clone()),
            checks::postgres(pool.clone()).read_write(),
            checks::postgres(pool.clone()).query("SELECT 1"),
            checks::postgres(pool.clone())
                .query("SELECT 1")
                .expect_value("1"),
        ] {
            let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
            assert_eq!(found, UP, "tested {tested}");
            assert_eq!(
                limit_and_transaction(&pool).await,
                before,
                "tested {tested}"
            );
        }
        let commit = hold(&pool, 1).await[0].batch_execute("COMMIT").await;
        assert!(commit.is_ok(), "tested {tested}: {commit:?}");
    }
    assert_eq!(rows_of(&server).await, Some(2), "both were committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_gets_no_limit() {
    transaction_left_open("", "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_keeps_the_limit_of_its_session() {
    transaction_left_open("SET statement_timeout = '17s'", "17s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_left_open_is_not_rolled_back() {
    let server = Postgres::start().await;
    let pool = postgres_pool(server.config(), 1, true);
    let failed = "BEGIN; SELECT 1 / 0";
    let error = hold(&pool, 1).await[0].batch_execute(failed).await;
    assert!(error.is_err());
    for check in [
        checks::postgres(pool.clone()),
        checks::postgres(pool.clone()).query("SELECT 1"),
        checks::postgres(pool.clone()).read_write(),
    ] {
        run(&check).await;
        let statement = hold(&pool, 1).await[0].batch_execute("SELECT 1").await;
        let code = statement.unwrap_err().code().cloned();
        assert_eq!(
            code,
            Some(SqlState::IN_FAILED_SQL_TRANSACTION),
            "the transaction is still the one that the app left"
        );
    }
}
