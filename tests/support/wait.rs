//! Waiting for a condition, with a deadline.

use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

/// How long a server may take to do anything at all, on a machine that is busy.
pub const MAXIMUM_WAIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(2);

/// Polls `condition` until it is true. Panics after `limit`, naming `what`; a poll in flight then is
/// abandoned.
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
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        sleep(POLL);
    }
    true
}
