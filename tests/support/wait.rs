//! Waiting for a condition, with a deadline.

use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

/// How long a server may take to do anything at all, on a machine that is busy.
pub const MAXIMUM_WAIT: Duration = Duration::from_secs(30);

pub(super) const POLL: Duration = Duration::from_millis(2);

/// Polls `condition` until it is true.
///
/// # Panics
///
/// After `limit`, naming `what`. A poll in flight at the limit is abandoned.
pub async fn wait_until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(POLL).await;
        }
    };
    if tokio::time::timeout(limit, poll).await.is_err() {
        panic!("waited {limit:?} in vain until {what}");
    }
}

/// The same for places without a runtime, such as `Drop`. Returns whether the condition came true.
pub(super) fn blocks_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        sleep(POLL);
    }
}
