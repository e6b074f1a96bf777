//! Roles and lag on a standby.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_health::{Reason, checks};

use crate::{
    app::{SOON, UP, assert_run, degraded, down, postgres_pool, run},
    support::{Postgres, wait_until},
};

/// Further behind than a busy machine makes a standby.
const MOST_LAG: Duration = Duration::from_secs(2);

/// One transaction that writes all the time and never ends.
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
async fn roles_and_lag_of_a_standby_are_proven() {
    let primary = Postgres::start().await;
    let create = "CREATE TABLE written (number int)";
    primary.client().await.batch_execute(create).await.unwrap();
    let standby = Postgres::builder().standby_of(&primary).start().await;
    let observer = standby.client().await;
    wait_until("the standby replays", SOON, async || {
        let found = observer.query("SELECT FROM written", &[]).await;
        found.is_ok()
    })
    .await;

    let (on_primary, on_standby) = (primary.pool(1), standby.pool(1));
    let (on_primary, on_standby) = (checks::postgres(on_primary), checks::postgres(on_standby));
    let mut config = primary.config();
    config.options("-c default_transaction_read_only=on");
    let refuses_writes = checks::postgres(postgres_pool(config, 1, true));
    let read_only = down(Reason::ReadOnly);
    for (check, expected, context) in [
        (on_primary.clone().read_write(), UP, "primary"),
        (on_primary.replica(), down(Reason::Mismatch), "no replica"),
        (on_standby.clone().replica(), UP, "replica"),
        (on_standby.clone().read_write(), read_only, "no primary"),
        (refuses_writes.read_write(), read_only, "read-only default"),
    ] {
        assert_run(&check, expected, context).await;
    }

    let check = on_standby.clone().max_replication_lag(MOST_LAG / 2);
    let end = Instant::now() + MOST_LAG;
    while Instant::now() < end {
        assert_run(&check, UP, "no writes").await;
        sleep(Duration::from_millis(100)).await;
    }
    let _writes = one_long_transaction(&primary).await;
    // Nothing is committed for longer than the limit, while changes arrive.
    let check = on_standby.max_replication_lag(MOST_LAG).replica();
    let end = Instant::now() + MOST_LAG + Duration::from_secs(1);
    while Instant::now() < end {
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
