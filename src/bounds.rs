//! What no setting exceeds.

use std::time::Duration;

/// A year. Whoever sets [`Duration::MAX`] means "never"; a clock to which that is added panics,
/// in the middle of a run or of a request. Sums and multiples of this are far from it.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A refresh without a pause would keep a core busy with nothing else.
pub(crate) const SHORTEST_REFRESH: Duration = Duration::from_millis(10);

/// The longest name of a gRPC service that may be mapped or requested, in bytes.
#[cfg(feature = "grpc")]
pub(crate) const LONGEST_SERVICE: usize = 200;
