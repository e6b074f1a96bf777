//! Servers that are frozen, and answers that arrive after a test was abandoned.

use std::time::Duration;

use bb8::{ManageConnection, Pool};
use bb8_redis::{RedisConnectionManager, redis::cmd};
use tokio_postgres::{Client, NoTls};
use tower_health::{Reason, checks};

use crate::{
    app::{PostgresManager, SOON, UP, assert_run, down, hold, is_served, pool, run, warm},
    support::{Postgres, Redis, wait_until},
};

/// A real manager whose test at checkout does nothing.
#[derive(Clone, Debug)]
struct TestsNothing(PostgresManager);

impl ManageConnection for TestsNothing {
    type Connection = Client;
    type Error = tokio_postgres::Error;

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        self.0.connect().await
    }

    async fn is_valid(&self, _: &mut Client) -> Result<(), tokio_postgres::Error> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Client) -> bool {
        self.0.has_broken(connection)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_down_where_the_test_does_nothing() {
    let server = Postgres::start().await;
    let manager = TestsNothing(PostgresManager::new(server.config(), NoTls));
    let pool = pool(manager, 4, true);
    warm(&pool, 4).await;
    let check = checks::postgres(pool.clone());
    assert_run(&check, UP, "before").await;
    server.freeze();
    for _ in 0..3 {
        assert_eq!(run(&check).await, down(Reason::Timeout), "idle");
    }
    // A request of the app that hangs, while connections are idle.
    let held = hold(&pool, 1).await;
    let busy = tokio::spawn(async move { held[0].simple_query("SELECT 1").await.is_ok() });
    for _ in 0..2 {
        assert_eq!(run(&check).await, down(Reason::Timeout), "busy");
    }
    server.thaw();
    assert!(busy.await.unwrap());
    wait_until("up again", SOON, async || run(&check).await == UP).await;
}

/// A pool of one that abandons a test at checkout soon.
fn hasty_pool<M: ManageConnection>(manager: M) -> Pool<M> {
    Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_millis(200))
        .build_unchecked(manager)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_of_postgres_to_an_abandoned_test_is_discarded() {
    let server = Postgres::start().await;
    let pool = hasty_pool(PostgresManager::new(server.config(), NoTls));
    let numbered = async |number: i32| {
        let connection = hold(&pool, 1).await.remove(0);
        let sql = "SELECT pg_backend_pid(), $1::int";
        let row = connection.query_one(sql, &[&number]).await.unwrap();
        (row.get::<_, i32>(0), row.get::<_, i32>(1))
    };
    let (pid, _) = numbered(0).await;
    server.freeze();
    for _ in 0..3 {
        assert!(pool.get().await.is_err(), "the test is abandoned");
    }
    server.thaw();
    wait_until("the app is served", SOON, async || is_served(&pool).await).await;
    for number in 0..5 {
        assert_eq!(
            numbered(number).await,
            (pid, number),
            "the same connection, its own answer"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_of_redis_to_an_abandoned_test_is_discarded() {
    let server = Redis::start().await;
    let pool = hasty_pool(RedisConnectionManager::new(server.url()).unwrap());
    let id = async || {
        let mut connection = hold(&pool, 1).await.remove(0);
        let id = cmd("CLIENT").arg("ID").query_async(&mut *connection).await;
        let id: u64 = id.unwrap();
        id
    };
    let before = id().await;
    server.freeze();
    // Shorter than the limit of the driver, at which the test would fail.
    assert!(pool.get().await.is_err(), "the test is abandoned");
    server.thaw();
    wait_until("the app is served", SOON, async || is_served(&pool).await).await;
    assert_eq!(id().await, before, "the same connection");
    let mut connection = hold(&pool, 1).await.remove(0);
    for number in 0..5_u32 {
        let echo = cmd("ECHO").arg(number).query_async(&mut *connection).await;
        assert_eq!(echo, Ok(number), "its own answer");
    }
}
