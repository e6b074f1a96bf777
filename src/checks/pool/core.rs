//! What the checks on pools consist of: options, and the tasks that runs share.

use std::{future::Future, sync::Arc};

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
    pub(in crate::checks) options: PoolOptions,
}

impl<P: ConnectionPool> PoolCore<P> {
    pub(in crate::checks) fn new(pool: P) -> Self {
        Self {
            lanes: Arc::new(Lanes::new(pool)),
            options: PoolOptions::default(),
        }
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

/// Implements the options and the traits that the checks on pools have in common.
macro_rules! pool_check {
    ($check:ident, $kind:literal, $($bound:tt)+) => {
        impl<P: $($bound)+> $check<P> {
            /// Sets a share of connections in use above which the pool is degraded (`saturated`). Default: off.
            ///
            /// `0.9` means above 90 %. A pool with all connections in use is degraded without this option, too,
            /// unless it serves callers promptly.
            ///
            /// # Panics
            ///
            /// Unless `share` is at least 0 and below 1.
            #[must_use]
            #[track_caller]
            pub fn degraded_above(mut self, share: f64) -> Self {
                assert!(
                    (0.0..1.0).contains(&share),
                    "degraded_above: {share} is not at least 0 and below 1"
                );
                self.core.options.degraded_above = Some(share);
                self
            }

            /// Lets the check replace a broken connection that it holds. Default: the check replaces nothing.
            ///
            /// `bb8-redis` never reports a connection as broken: without `test_on_check_out` the pool keeps the
            /// connections of a server that was restarted. With this option the check replaces a connection
            /// that returned an error by a new one. It never replaces one that is silent.
            #[must_use]
            pub fn repair_pool(mut self) -> Self {
                self.core.options.repair = true;
                self
            }
        }

        impl<P: $($bound)+> $crate::check::Check for $check<P> {
            fn check(&self) -> impl std::future::Future<Output = $crate::check::CheckResult> + Send {
                self.check_until(tokio::time::Instant::now() + $crate::dependency::DEFAULT_TIMEOUT)
            }

            fn check_until(
                &self,
                deadline: tokio::time::Instant,
            ) -> impl std::future::Future<Output = $crate::check::CheckResult> + Send {
                self.core.run(deadline)
            }

            fn kind(&self) -> Option<&'static str> {
                Some($kind)
            }
        }

        impl<P: $($bound)+> Clone for $check<P> {
            fn clone(&self) -> Self {
                Self {
                    core: self.core.clone(),
                }
            }
        }

        impl<P: $($bound)+> std::fmt::Debug for $check<P> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($check))
                    .field("options", &self.core.options)
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(in crate::checks) use pool_check;
