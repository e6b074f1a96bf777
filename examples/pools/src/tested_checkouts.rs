//! Counts the checkouts that passed a pool's own test, by the hook that the pool runs after it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use deadpool::managed::{Hook, Manager, Object, PoolBuilder};
use sqlx::postgres::PgPoolOptions;
use tower_health::checks::PoolCounters;

/// The checkouts of one pool whose connection passed the pool's test.
///
/// ```no_run
/// # use tower_health_pools::{sqlx_postgres::SqlxPool, tested_checkouts::TestedCheckouts};
/// let tested = TestedCheckouts::default();
/// let options = tested.count_sqlx(sqlx::postgres::PgPoolOptions::new());
/// let pool = options.connect_lazy("postgres:///").expect("a valid URL");
/// let pool = SqlxPool { pool, tested: Some(tested) };
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestedCheckouts(Arc<AtomicU64>);

impl TestedCheckouts {
    /// Counts one checkout. A hook that the app has already can call it last.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the one `before_acquire` of `sqlx`, which runs after the test of an idle connection.
    pub fn count_sqlx(&self, options: PgPoolOptions) -> PgPoolOptions {
        let tested = self.clone();
        options.before_acquire(move |_, _| {
            tested.count();
            Box::pin(async { Ok(true) })
        })
    }

    /// Adds a `post_recycle` of `deadpool`, which runs after the test of an idle connection.
    ///
    /// Call it after the app's own hooks: they may reject the connection.
    pub fn count_deadpool<M: Manager, W: From<Object<M>>>(
        &self,
        builder: PoolBuilder<M, W>,
    ) -> PoolBuilder<M, W> {
        let tested = self.clone();
        builder.post_recycle(Hook::sync_fn(move |_, _| {
            tested.count();
            Ok(())
        }))
    }

    /// Returns the counters of a pool. How long its callers have waited is not known.
    pub fn counters(tested: Option<&Self>, max: u32, open: u32, idle: u32) -> PoolCounters {
        let mut counters = PoolCounters::new(max, open, idle);
        counters.served = tested.map(|tested| tested.0.load(Ordering::Relaxed));
        counters
    }
}
