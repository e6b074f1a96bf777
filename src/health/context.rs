//! What a handle shares with its dependencies: the lifecycle, the epoch, and the subscribers.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
#[cfg(feature = "grpc")]
use tokio::sync::{Notify, futures::OwnedNotified};

#[cfg(feature = "grpc")]
use super::stream_shutdown::StreamShutdown;
use super::transition::Broadcaster;
use crate::report::Reason;

#[derive(Debug, Default)]
pub(super) struct HealthContext {
    pub(super) lifecycle: Lifecycle,
    pub(super) epoch: Epoch,
    pub(super) broadcaster: Broadcaster,
}

/// The three independent switches of the lifecycle.
///
/// `started` is latched: a started app that loses its database is unready, but still started.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    started: AtomicBool,
    draining: AtomicBool,
    maintenance: ArcSwapOption<Cow<'static, str>>,
    #[cfg(feature = "grpc")]
    pub(super) streams: StreamShutdown,
}

impl Lifecycle {
    pub(super) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Returns whether this was a change.
    pub(super) fn set_started(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns whether this was a change.
    pub(super) fn set_draining(&self, draining: bool) -> bool {
        let is_change = self.draining.swap(draining, Ordering::AcqRel) != draining;
        #[cfg(feature = "grpc")]
        if is_change {
            self.streams.set_draining(draining);
        }
        is_change
    }

    /// The message of the maintenance; `None` outside a maintenance.
    pub(super) fn maintenance(&self) -> Option<Arc<Cow<'static, str>>> {
        self.maintenance.load_full()
    }

    /// Returns the previous message.
    pub(super) fn set_maintenance(
        &self,
        message: Option<Cow<'static, str>>,
    ) -> Option<Arc<Cow<'static, str>>> {
        self.maintenance.swap(message.map(Arc::new))
    }

    /// The reason and the message, if the app is out of rotation.
    ///
    /// Draining takes precedence: an app that shuts down does not return.
    pub(super) fn out_of_rotation(&self) -> Option<(Reason, Option<Cow<'static, str>>)> {
        if self.is_draining() {
            return Some((Reason::Draining, None));
        }
        let message = self.maintenance()?;
        let message = (!message.is_empty()).then(|| (*message).clone());
        Some((Reason::Maintenance, message))
    }
}

/// Counts the published results and the changes of the lifecycle. Each makes earlier answers invalid.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    count: AtomicU64,
    #[cfg(feature = "grpc")]
    changed: Arc<Notify>,
}

impl Epoch {
    pub(super) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn advance(&self) {
        self.count.fetch_add(1, Ordering::Release);
        #[cfg(feature = "grpc")]
        self.notify();
    }

    /// Wakes the tasks that wait for a change.
    #[cfg(feature = "grpc")]
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Resolves at the next change after this call.
    #[cfg(feature = "grpc")]
    pub(super) fn changed(&self) -> OwnedNotified {
        self.changed.clone().notified_owned()
    }
}
