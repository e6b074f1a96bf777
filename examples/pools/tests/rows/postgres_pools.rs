//! The Postgres pools of the rows.

use bb8_postgres::PostgresConnectionManager;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use sqlx::{
    Executor, Postgres as Database,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_postgres::NoTls;
use tower_health::{Check, checks};
use tower_health_pools::{
    deadpool_postgres_pool::DeadpoolPostgres, diesel_bb8, sqlx_postgres::SqlxPool,
    tested_checkouts::TestedCheckouts,
};

use crate::{
    row::{AppPool, SIZE},
    support::Postgres,
};

pub trait PostgresPool: AppPool {
    /// Whether the pool asks the server at checkout.
    const TESTS: bool = true;

    fn new(server: &Postgres, port: u16) -> Self;

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool;
}

pub type Bb8 = bb8::Pool<PostgresConnectionManager<NoTls>>;
type Bb8Checkout = bb8::PooledConnection<'static, PostgresConnectionManager<NoTls>>;

/// `bb8` as a reference: the crate's own check.
impl AppPool for Bb8 {
    const NAME: &'static str = "bb8";
    type Checkout = Bb8Checkout;

    fn check(&self) -> impl Check {
        checks::postgres(self.clone())
    }

    async fn get(&self) -> Option<Bb8Checkout> {
        self.get_owned().await.ok()
    }
}

impl PostgresPool for Bb8 {
    fn new(server: &Postgres, port: u16) -> Self {
        server.pool_through(port, SIZE)
    }

    async fn execute(checkout: &mut Bb8Checkout, sql: &'static str) -> bool {
        checkout.batch_execute(sql).await.is_ok()
    }
}

/// `bb8` with `test_on_check_out(false)`.
#[derive(Clone)]
pub struct Untested(Bb8);

impl AppPool for Untested {
    const NAME: &'static str = "bb8 without a test";
    type Checkout = Bb8Checkout;

    fn check(&self) -> impl Check {
        self.0.check()
    }

    async fn get(&self) -> Option<Bb8Checkout> {
        AppPool::get(&self.0).await
    }
}

impl PostgresPool for Untested {
    const TESTS: bool = false;

    fn new(server: &Postgres, port: u16) -> Self {
        let manager = PostgresConnectionManager::new(server.config_through(port), NoTls);
        let builder = bb8::Pool::builder().max_size(SIZE).test_on_check_out(false);
        Self(builder.build_unchecked(manager))
    }

    async fn execute(checkout: &mut Bb8Checkout, sql: &'static str) -> bool {
        checkout.batch_execute(sql).await.is_ok()
    }
}

impl AppPool for SqlxPool {
    const NAME: &'static str = "sqlx";
    type Checkout = PoolConnection<Database>;

    fn check(&self) -> impl Check {
        checks::connection_pool(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        self.pool.acquire().await.ok()
    }
}

impl PostgresPool for SqlxPool {
    fn new(server: &Postgres, port: u16) -> Self {
        let url = server.url_through(port);
        // PgBouncer refuses this startup parameter, unless it is set to ignore it.
        let connect = url.parse::<PgConnectOptions>().expect("a valid URL");
        let connect = connect.extra_float_digits(None);
        let tested = TestedCheckouts::default();
        let options = tested.count_sqlx(PgPoolOptions::new().max_connections(SIZE));
        Self {
            pool: options.connect_lazy_with(connect),
            tested: Some(tested),
        }
    }

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool {
        Executor::execute(&mut **checkout, sql).await.is_ok()
    }
}

/// `deadpool` with `RecyclingMethod::Verified` or `Fast`.
#[derive(Clone)]
pub struct Deadpool<const VERIFIED: bool> {
    pool: Pool,
    tested: Option<TestedCheckouts>,
}

impl<const VERIFIED: bool> AppPool for Deadpool<VERIFIED> {
    const NAME: &'static str = match VERIFIED {
        true => "deadpool-postgres, Verified",
        false => "deadpool-postgres, Fast",
    };
    type Checkout = Object;

    fn check(&self) -> impl Check {
        checks::connection_pool(DeadpoolPostgres {
            pool: self.pool.clone(),
            tested: self.tested.clone(),
        })
    }

    async fn get(&self) -> Option<Object> {
        self.pool.get().await.ok()
    }
}

impl<const VERIFIED: bool> PostgresPool for Deadpool<VERIFIED> {
    const TESTS: bool = VERIFIED;

    fn new(server: &Postgres, port: u16) -> Self {
        let recycling_method = match VERIFIED {
            true => RecyclingMethod::Verified,
            false => RecyclingMethod::Fast,
        };
        let config = ManagerConfig { recycling_method };
        let manager = Manager::from_config(server.config_through(port), NoTls, config);
        let builder = Pool::builder(manager).max_size(SIZE as usize);
        let tested = VERIFIED.then(TestedCheckouts::default);
        let builder = match &tested {
            Some(tested) => tested.count_deadpool(builder),
            None => builder,
        };
        Self {
            pool: builder.build().expect("no timeouts, so no runtime"),
            tested,
        }
    }

    async fn execute(checkout: &mut Object, sql: &'static str) -> bool {
        checkout.batch_execute(sql).await.is_ok()
    }
}

impl AppPool for bb8::Pool<diesel_bb8::Manager> {
    const NAME: &'static str = "diesel-async over bb8";
    type Checkout = bb8::PooledConnection<'static, diesel_bb8::Manager>;

    fn check(&self) -> impl Check {
        diesel_bb8::check(self.clone())
    }

    async fn get(&self) -> Option<Self::Checkout> {
        self.get_owned().await.ok()
    }
}

impl PostgresPool for bb8::Pool<diesel_bb8::Manager> {
    fn new(server: &Postgres, port: u16) -> Self {
        let manager = diesel_bb8::manager(&server.url_through(port));
        bb8::Pool::builder().max_size(SIZE).build_unchecked(manager)
    }

    async fn execute(checkout: &mut Self::Checkout, sql: &'static str) -> bool {
        sql_query(sql).execute(checkout).await.is_ok()
    }
}
