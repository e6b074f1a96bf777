//! Where the app is in its life: starting, started, taken out for maintenance, draining.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use crate::report::Reason;

/// Three switches, independent of each other. None goes back by itself: a started app
/// that loses its database is unready, not unstarted.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    started: AtomicBool,
    draining: AtomicBool,
    maintenance: ArcSwapOption<Cow<'static, str>>,
}

impl Lifecycle {
    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Returns whether this was the turn.
    pub(crate) fn set_started(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns whether this was the turn.
    pub(crate) fn set_draining(&self, draining: bool) -> bool {
        self.draining.swap(draining, Ordering::AcqRel) != draining
    }

    /// Why the app is taken out, if it is.
    pub(crate) fn maintenance(&self) -> Option<Arc<Cow<'static, str>>> {
        self.maintenance.load_full()
    }

    /// Returns what stood before.
    pub(crate) fn set_maintenance(
        &self,
        text: Option<Cow<'static, str>>,
    ) -> Option<Arc<Cow<'static, str>>> {
        self.maintenance.swap(text.map(Arc::new))
    }

    /// Why the app wants no traffic, whatever its dependencies say, and the text for it.
    ///
    /// Draining comes first: an app that is going will not be put back.
    pub(crate) fn out_of_rotation(&self) -> Option<(Reason, Option<Cow<'static, str>>)> {
        if self.is_draining() {
            return Some((Reason::Draining, None));
        }
        let text = self.maintenance()?;
        let message = (!text.is_empty()).then(|| (*text).clone());
        Some((Reason::Maintenance, message))
    }
}
