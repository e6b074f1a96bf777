//! What the checks on pools consist of: options, and the tasks that runs share.

use std::{fmt, future::Future, sync::Arc};

use bb8::{ManageConnection, Pool};
use tokio::time::Instant;

use super::{
    bb8::{Bb8, Server},
    connection_pool::ConnectionPool,
    gather::{self, PoolOptions},
    lanes::Lanes,
};
use crate::check::CheckResult;

/// The core of a check on a `bb8` pool of a kind of server.
pub(in crate::checks) type Bb8Core<M, S> = PoolCore<Bb8<M, S>>;

/// A check on a pool.
///
/// Clones share the tasks, and so the limits on connections, until the server's settings are changed.
pub(in crate::checks) struct PoolCore<P: ConnectionPool> {
    lanes: Arc<Lanes<P>>,
    options: PoolOptions,
}

impl<P: ConnectionPool> PoolCore<P> {
    pub(in crate::checks) fn new(pool: P) -> Self {
        Self {
            lanes: Arc::new(Lanes::new(pool)),
            options: PoolOptions::default(),
        }
    }

    pub(in crate::checks) fn options_mut(&mut self) -> &mut PoolOptions {
        &mut self.options
    }

    pub(in crate::checks) fn run(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = CheckResult> + Send {
        gather::run(&self.lanes, self.options, deadline)
    }
}

impl<M: ManageConnection, S: Server<M> + Clone> PoolCore<Bb8<M, S>> {
    pub(in crate::checks) fn of_bb8(pool: Pool<M>, server: S) -> Self {
        Self::new(Bb8 { pool, server })
    }

    pub(in crate::checks) fn server_mut(&mut self) -> &mut S {
        // Tasks in progress belong to the settings of before, and so do the clones.
        self.lanes = Arc::new(Lanes::new(Bb8 {
            pool: self.lanes.pool.pool.clone(),
            server: self.lanes.pool.server.clone(),
        }));
        let lanes = Arc::get_mut(&mut self.lanes);
        // Created above, and cloned nowhere.
        &mut lanes.expect("the only handle").pool.server
    }
}

impl<P: ConnectionPool> Clone for PoolCore<P> {
    fn clone(&self) -> Self {
        Self {
            lanes: self.lanes.clone(),
            options: self.options,
        }
    }
}

impl<P: ConnectionPool> fmt::Debug for PoolCore<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCore")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
