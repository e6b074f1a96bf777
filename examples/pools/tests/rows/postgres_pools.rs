//! The Postgres pools of the rows.

use deadpool_postgres::{ManagerConfig, Object, Pool, RecyclingMethod};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use sqlx::{
    Executor, PgPool, Postgres as Database,
    pool::{PoolConnection, PoolOptions},
    postgres::PgConnectOptions,
};
use tokio_postgres::NoTls;
use tower_health::{Check, checks};
use tower_health_pools::{
    deadpool_postgres_pool::DeadpoolPostgres, diesel_bb8, sqlx_postgres::SqlxPool,
};

use crate::{row::SIZE, support::Postgres};

/// A pool of [`SIZE`] connections, used as an app does.
pub trait PostgresPool: Clone + 'static {
    const NAME: &'static str;
    type Checkout: 'static;

    fn new(server: &Postgres, port: u16) -> Self;

    fn check(&self) -> impl Check;

    /// `None` is an error.
    async fn get(&self) -> Option<Self::Checkout>;

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool;
}

/// `bb8` as a reference: the crate's own check.
impl PostgresPool for bb8::Pool<bb8_postgres::PostgresConnectionManager<NoTls>> {
    const NAME: &'static str = "bb8";
    type Checkout = bb8::PooledConnection<'static, bb8_postgres::PostgresConnectionManager<NoTls>>;

    fn new(server: &Postgres, port: u16) -> Self {
        server.pool_through(port, SIZE)
    }

    fn check(&self) -> impl Check {
        checks::postgres(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        self.get_owned().await.ok()
    }

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool {
        checkout.batch_execute(sql).await.is_ok()
    }
}

impl PostgresPool for SqlxPool {
    const NAME: &'static str = "sqlx";
    type Checkout = PoolConnection<Database>;

    fn new(server: &Postgres, port: u16) -> Self {
        let url = server.url_through(port);
        // PgBouncer refuses this startup parameter, unless it is set to ignore it.
        let options = url.parse::<PgConnectOptions>().expect("a valid URL");
        let options = options.extra_float_digits(None);
        let pool = PoolOptions::<Database>::new().max_connections(SIZE);
        Self(pool.connect_lazy_with(options))
    }

    fn check(&self) -> impl Check {
        checks::connection_pool(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        let pool: &PgPool = &self.0;
        pool.acquire().await.ok()
    }

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool {
        Executor::execute(&mut **checkout, sql).await.is_ok()
    }
}

/// `deadpool` with the recycling method of the parameter.
#[derive(Clone)]
pub struct Deadpool<const VERIFIED: bool>(Pool);

impl<const VERIFIED: bool> PostgresPool for Deadpool<VERIFIED> {
    const NAME: &'static str = match VERIFIED {
        true => "deadpool-postgres, Verified",
        false => "deadpool-postgres, Fast",
    };
    type Checkout = Object;

    fn new(server: &Postgres, port: u16) -> Self {
        let recycling_method = match VERIFIED {
            true => RecyclingMethod::Verified,
            false => RecyclingMethod::Fast,
        };
        let config = ManagerConfig { recycling_method };
        let manager =
            deadpool_postgres::Manager::from_config(server.config_through(port), NoTls, config);
        let pool = Pool::builder(manager).max_size(SIZE as usize).build();
        Self(pool.expect("no timeouts, so no runtime"))
    }

    fn check(&self) -> impl Check {
        checks::connection_pool(DeadpoolPostgres(self.0.clone()))
    }

    async fn get(&self) -> Option<Object> {
        self.0.get().await.ok()
    }

    async fn execute(checkout: &mut Object, sql: &'static str) -> bool {
        checkout.batch_execute(sql).await.is_ok()
    }
}

impl PostgresPool for bb8::Pool<diesel_bb8::Manager> {
    const NAME: &'static str = "diesel-async over bb8";
    type Checkout = bb8::PooledConnection<'static, diesel_bb8::Manager>;

    fn new(server: &Postgres, port: u16) -> Self {
        let manager = diesel_bb8::manager(&server.url_through(port));
        bb8::Pool::builder().max_size(SIZE).build_unchecked(manager)
    }

    fn check(&self) -> impl Check {
        diesel_bb8::check(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        self.get_owned().await.ok()
    }

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool {
        sql_query(sql).execute(checkout).await.is_ok()
    }
}
