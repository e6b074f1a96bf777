//! When an answer that was made before is wrong.

#[cfg(feature = "grpc")]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what makes an answer that was made before wrong: any published result, any change of the lifecycle.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    count: AtomicU64,
    #[cfg(feature = "grpc")]
    moved: Arc<tokio::sync::Notify>,
}

impl Epoch {
    pub(crate) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn advance(&self) {
        self.count.fetch_add(1, Ordering::Release);
        #[cfg(feature = "grpc")]
        self.nudge();
    }

    /// Wakes those that wait for it to move.
    #[cfg(feature = "grpc")]
    pub(crate) fn nudge(&self) {
        self.moved.notify_waiters();
    }

    /// Resolves when it advances after this call, or is nudged.
    #[cfg(feature = "grpc")]
    pub(crate) fn moved(&self) -> tokio::sync::futures::OwnedNotified {
        self.moved.clone().notified_owned()
    }
}
