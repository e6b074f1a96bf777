//! Limits that several modules share.

use std::time::Duration;

/// The maximum of every duration that is set: a year.
///
/// [`Duration::MAX`] as "never" would panic when it is added to the clock, in the middle of a run or a request.
/// Sums and multiples of this limit are far from that.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The minimum of `refresh_every`: a refresh without a pause would keep a core busy.
pub(crate) const SHORTEST_REFRESH: Duration = Duration::from_millis(10);

/// The maximum length of the name of a gRPC service that is mapped or requested, in bytes.
#[cfg(feature = "grpc")]
pub(crate) const LONGEST_SERVICE: usize = 200;
