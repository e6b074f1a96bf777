//! What a pool's own counters prove, without a round trip.

use bb8::{ManageConnection, Pool};

use crate::report::PoolStats;

/// The pool's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) connections: u32,
    pub(super) idle: u32,
    /// Checkouts that were given a connection, tested where the pool tests.
    served: u64,
    /// Connections that failed their test at checkout.
    invalid: u64,
    /// Signs of trouble: connections closed as broken or invalid, checkouts timed out.
    trouble: u64,
}

impl Sample {
    pub(super) fn of<M: ManageConnection>(pool: &Pool<M>) -> Self {
        let state = pool.state();
        let counters = &state.statistics;
        Self {
            connections: state.connections,
            idle: state.idle_connections,
            served: counters.get_direct + counters.get_waited,
            invalid: counters.connections_closed_invalid,
            trouble: counters.connections_closed_invalid
                + counters.connections_closed_broken
                + counters.get_timed_out,
        }
    }

    /// How many checkouts were served since `earlier`.
    ///
    /// With `test_on_check_out` each of them is an answer of the server's. Without,
    /// it proves nothing: a frozen server's connections are handed out like good ones.
    pub(super) fn served_since(&self, earlier: &Self) -> u64 {
        self.served.saturating_sub(earlier.served)
    }

    pub(super) fn trouble_since(&self, earlier: &Self) -> bool {
        self.trouble != earlier.trouble
    }

    /// Whether connections made after `earlier` have failed their test.
    ///
    /// Every connection of then may have gone stale and be evicted by one checkout;
    /// one more, and fresh ones are refused: `bb8` would now go on at thousands a second.
    pub(super) fn storms_since(&self, earlier: &Self) -> bool {
        self.invalid.saturating_sub(earlier.invalid) > u64::from(earlier.connections)
    }

    pub(super) fn numbers(&self, max: u32) -> PoolStats {
        PoolStats::new(max, self.connections, self.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn a_storm_is_one_more_than_could_be_stale() {
        for (connections, invalid, storm) in
            [(0, 0, false), (0, 1, true), (4, 4, false), (4, 5, true)]
        {
            let earlier = Sample {
                connections,
                ..Sample::default()
            };
            let now = Sample {
                invalid,
                ..Sample::default()
            };
            assert_eq!(now.storms_since(&earlier), storm, "{connections} {invalid}");
        }
    }
}
