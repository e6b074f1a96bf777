//! What the app does with a connection, and which check goes with it.

use std::{borrow::Cow, future::Future};

use bb8::{ManageConnection, Pool};
use bb8_postgres::tokio_postgres::Client;
use bb8_redis::redis::{RedisError, aio::MultiplexedConnection, cmd};
use tower_health::{Dependency, checks};

pub trait Session: Send + Sized + 'static {
    /// What the app needs of the server: a read, or a write.
    fn request(&mut self, writes: bool) -> impl Future<Output = Result<(), String>> + Send;

    /// What a hand-written check asks.
    fn ping(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// This crate's check, with the app's need stated.
    fn dependency<M>(pool: Pool<M>, writes: bool) -> Dependency
    where
        M: ManageConnection<Connection = Self>;
}

const NAME: Cow<'static, str> = Cow::Borrowed("server");

impl Session for Client {
    async fn request(&mut self, writes: bool) -> Result<(), String> {
        let sql = if writes {
            "INSERT INTO written VALUES (1)"
        } else {
            "SELECT 1"
        };
        let result = self.simple_query(sql).await;
        result.map(drop).map_err(|error| match error.code() {
            Some(code) => code.code().to_owned(),
            None => error.to_string(),
        })
    }

    async fn ping(&mut self) -> Result<(), String> {
        self.request(false).await
    }

    fn dependency<M>(pool: Pool<M>, writes: bool) -> Dependency
    where
        M: ManageConnection<Connection = Self>,
    {
        let check = checks::postgres(pool);
        let check = if writes { check.read_write() } else { check };
        Dependency::new(NAME, check)
    }
}

impl Session for MultiplexedConnection {
    async fn request(&mut self, writes: bool) -> Result<(), String> {
        let mut command = cmd(if writes { "SET" } else { "GET" });
        command.arg("key-of-the-app");
        if writes {
            command.arg("value");
        }
        let result: Result<Option<String>, _> = command.query_async(self).await;
        result.map(drop).map_err(|error| words(&error))
    }

    async fn ping(&mut self) -> Result<(), String> {
        let result: Result<String, _> = cmd("PING").query_async(self).await;
        result.map(drop).map_err(|error| words(&error))
    }

    fn dependency<M>(pool: Pool<M>, writes: bool) -> Dependency
    where
        M: ManageConnection<Connection = Self>,
    {
        let check = checks::redis(pool);
        if writes {
            Dependency::new(NAME, check.write_and_read_back())
        } else {
            Dependency::new(NAME, check)
        }
    }
}

fn words(error: &RedisError) -> String {
    error
        .code()
        .map_or_else(|| error.to_string(), ToOwned::to_owned)
}
