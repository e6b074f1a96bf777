//! The options that every check on a pool has.

/// The setters that the checks have in common, for a type with a field `core`.
macro_rules! pool_options {
    () => {
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
            self.core.options_mut().degraded_above = Some(share);
            self
        }

        /// Lets the check replace a broken connection that it holds. Default: the check replaces nothing.
        ///
        /// `bb8-redis` never reports a connection as broken: without `test_on_check_out` the pool keeps the
        /// connections of a server that was restarted. With this option the check replaces a connection
        /// that returned an error by a new one. It never replaces one that is silent.
        #[must_use]
        pub fn repair_pool(mut self) -> Self {
            self.core.options_mut().repair = true;
            self
        }
    };
}

pub(in crate::checks) use pool_options;
