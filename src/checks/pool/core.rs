//! What the checks on pools are made of: a pool, options, and the tasks that runs share.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bb8::{ManageConnection, Pool};
use tokio::time::Instant;

use super::{
    bb8::{Bb8, Server},
    gather::{self, PoolOptions},
    lanes::Lanes,
};
use crate::check::CheckResult;

type SharedLanes<M, S> = Arc<Lanes<Bb8<M, S>>>;

/// A check on a `bb8` pool of a kind of server.
///
/// Clones share the tasks, and so the limits on connections, until an option is changed.
pub(in crate::checks) struct PoolCore<M: ManageConnection, S: Server<M>> {
    pool: Pool<M>,
    server: S,
    options: PoolOptions,
    lanes: Arc<OnceLock<SharedLanes<M, S>>>,
}

impl<M: ManageConnection, S: Server<M> + Clone> PoolCore<M, S> {
    pub(in crate::checks) fn new(pool: Pool<M>, server: S) -> Self {
        Self {
            pool,
            server,
            options: PoolOptions::default(),
            lanes: Arc::default(),
        }
    }

    pub(in crate::checks) fn options_mut(&mut self) -> &mut PoolOptions {
        &mut self.options
    }

    pub(in crate::checks) fn server_mut(&mut self) -> &mut S {
        self.lanes = Arc::default();
        &mut self.server
    }

    pub(in crate::checks) async fn run(&self, deadline: Instant) -> CheckResult {
        let lanes = self.lanes.get_or_init(|| {
            Arc::new(Lanes::new(Bb8 {
                pool: self.pool.clone(),
                server: self.server.clone(),
            }))
        });
        gather::run(lanes, self.options, deadline).await
    }
}

impl<M: ManageConnection, S: Server<M> + Clone> Clone for PoolCore<M, S> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            server: self.server.clone(),
            options: self.options,
            lanes: self.lanes.clone(),
        }
    }
}

impl<M: ManageConnection, S: Server<M>> fmt::Debug for PoolCore<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCore")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
