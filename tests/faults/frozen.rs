//! Servers that are frozen, and answers that come after them.

use std::time::Duration;

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use bb8_redis::{RedisConnectionManager, redis::cmd};
use tokio_postgres::{Client, NoTls};
use tower_health::{Reason, checks};

use crate::{
    answer::{UP, down},
    app::{PostgresManager, SOON, hold, is_served, redis_is_served, run, warm},
    support::{Postgres, Redis, judged_on_time, wait_until},
};

/// A real manager whose test at checkout asks nothing.
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
async fn a_frozen_server_is_down_where_the_test_asks_nothing() {
    let server = Postgres::start().await;
    let manager = TestsNothing(PostgresConnectionManager::new(server.config(), NoTls));
    let pool = bb8::Pool::builder().max_size(4).build_unchecked(manager);
    warm(&pool, 4).await;
    let check = checks::postgres(pool.clone());
    let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
    assert_eq!(found, UP);
    server.freeze();
    for _ in 0..3 {
        assert_eq!(run(&check).await, down(Reason::Timeout), "idle");
    }
    // Requests of the app's that hang, and one connection that idles.
    let held = hold(&pool, 1).await;
    let busy = tokio::spawn(async move { held[0].simple_query("SELECT 1").await.is_ok() });
    for _ in 0..2 {
        assert_eq!(run(&check).await, down(Reason::Timeout), "busy");
    }
    server.thaw();
    assert!(busy.await.unwrap());
    wait_until("up again", SOON, async || run(&check).await == UP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_to_an_abandoned_test_is_discarded() {
    let server = Postgres::start().await;
    let pool = bb8::Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_millis(200))
        .build_unchecked(PostgresConnectionManager::new(server.config(), NoTls));
    let pid = {
        let connection = hold(&pool, 1).await;
        let row = connection[0]
            .query_one("SELECT pg_backend_pid()", &[])
            .await;
        row.unwrap().get::<_, i32>(0)
    };
    server.freeze();
    for _ in 0..3 {
        assert!(
            pool.get().await.is_err(),
            "the test ends at the pool's timeout"
        );
    }
    server.thaw();
    wait_until("the app is served", SOON, async || is_served(&pool).await).await;
    let connection = hold(&pool, 1).await;
    for number in 0..5 {
        let row = connection[0]
            .query_one("SELECT pg_backend_pid(), $1::int", &[&number])
            .await;
        let row = row.unwrap();
        assert_eq!(
            (row.get(0), row.get(1)),
            (pid, number),
            "the same connection, its own answer"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_of_redis_to_an_abandoned_test_is_discarded() {
    let server = Redis::start().await;
    let pool = bb8::Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_millis(200))
        .build_unchecked(RedisConnectionManager::new(server.url()).unwrap());
    let id = async || {
        let mut connection = hold(&pool, 1).await.remove(0);
        let id: Result<u64, _> = cmd("CLIENT").arg("ID").query_async(&mut *connection).await;
        id.unwrap()
    };
    let before = id().await;
    server.freeze();
    // Shorter than the limit of the driver, at which the test would fail.
    assert!(
        pool.get().await.is_err(),
        "the test ends at the pool's timeout"
    );
    server.thaw();
    wait_until("the app is served", SOON, async || {
        redis_is_served(&pool).await
    })
    .await;
    assert_eq!(id().await, before, "the same connection");
    let mut connection = hold(&pool, 1).await.remove(0);
    for number in 0..5_u32 {
        let echo = cmd("ECHO").arg(number).query_async(&mut *connection).await;
        assert_eq!(echo, Ok(number), "its own answer");
    }
}
