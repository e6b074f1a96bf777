//! The options that every check on a pool has.

use std::time::Duration;

use crate::bounds::MAX_DURATION;

#[derive(Clone, Copy, Debug)]
pub(in crate::checks) struct Settings {
    pub(super) healing: bool,
    pub(super) trust_traffic: Option<Duration>,
    pub(super) degraded_above: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            healing: true,
            trust_traffic: None,
            degraded_above: None,
        }
    }
}

impl Settings {
    pub(in crate::checks) fn set_healing(&mut self, healing: bool) {
        self.healing = healing;
    }

    pub(in crate::checks) fn set_trust_traffic(&mut self, window: Duration) {
        self.trust_traffic = Some(window.min(MAX_DURATION));
    }

    #[track_caller]
    pub(in crate::checks) fn set_degraded_above(&mut self, share: f64) {
        assert!(
            (0.0..1.0).contains(&share),
            "a share of the pool's connections is at least 0 and below 1"
        );
        self.degraded_above = Some(share);
    }
}

/// The setters that the three checks have in common, for a type with a field `engine`.
macro_rules! pool_options {
    () => {
        /// Changes nothing in the pool. Default: heals.
        ///
        /// Healing hands a connection that was made to learn the truth to the pool
        /// where that has room for it, which wakes one that waits for a connect that
        /// hangs, or puts it in the place of a connection that was found dead.
        #[must_use]
        pub fn without_healing(mut self) -> Self {
            self.engine.settings.set_healing(false);
            self
        }

        /// Lets the app's own traffic be the proof, if there was any within `window`. Default: off.
        ///
        /// With `test_on_check_out` (bb8's default) each checkout that the pool
        /// served is an answer of the server's. When one was served since the last
        /// run, that run was up and began at most `window` ago, and the pool closed no connection as broken or
        /// invalid and no checkout timed out meanwhile, the verdict is up without asking.
        /// A busy app then costs no check at all.
        ///
        /// It proves that the server answered this pool at some moment within `window`,
        /// so the verdict may be older than the run by up to that much. It does not
        /// prove that the server answers now, nor anything that other options of
        /// the check ask for: with those set, and without `test_on_check_out`, traffic is not trusted.
        #[must_use]
        pub fn trust_traffic(mut self, window: std::time::Duration) -> Self {
            self.engine.settings.set_trust_traffic(window);
            self
        }

        /// Degraded (`saturated`) while more than this share of the pool's connections is in use. Default: off.
        ///
        /// As in `0.9`. A pool with all its connections in use is found degraded
        /// without this option, too, once a checkout has to wait too long.
        ///
        /// # Panics
        ///
        /// Unless `share` is at least 0 and below 1.
        #[must_use]
        #[track_caller]
        pub fn degraded_above(mut self, share: f64) -> Self {
            self.engine.settings.set_degraded_above(share);
            self
        }
    };
}

pub(in crate::checks) use pool_options;
