//! Where the app is in its life: starting, started, in maintenance, draining.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::time::sleep;

use super::Health;
use crate::report::{Reason, one_line};

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

    /// Returns whether this was a change.
    pub(crate) fn set_started(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns whether this was a change.
    pub(crate) fn set_draining(&self, draining: bool) -> bool {
        self.draining.swap(draining, Ordering::AcqRel) != draining
    }

    /// The message of the maintenance, if there is one.
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

    /// Why the app is out of rotation, whatever its dependencies are, and the message.
    ///
    /// Draining comes first: an app that shuts down does not come back.
    pub(crate) fn out_of_rotation(&self) -> Option<(Reason, Option<Cow<'static, str>>)> {
        if self.is_draining() {
            return Some((Reason::Draining, None));
        }
        let text = self.maintenance()?;
        let message = (!text.is_empty()).then(|| (*text).clone());
        Some((Reason::Maintenance, message))
    }
}

impl Health {
    /// Takes the app out of rotation and returns after `delay`: readiness is 503 at once, with reason
    /// `draining`.
    ///
    /// The app keeps serving until load balancers have noticed. Liveness stays 200, and checks go on. May be
    /// called again, as after a second signal; each call waits its own delay. Dropping the future leaves
    /// the app draining.
    ///
    /// # Panics
    ///
    /// Without a Tokio runtime that has a timer.
    pub async fn drain(&self, delay: Duration) {
        #[cfg(feature = "grpc")]
        {
            self.shared().closing.drains_for(delay);
            self.nudge();
        }
        self.set_draining(true);
        sleep(delay).await;
    }

    /// Sets or ends draining without waiting. Setting the present value changes nothing.
    pub fn set_draining(&self, draining: bool) {
        if self.shared().common.lifecycle.set_draining(draining) {
            #[cfg(feature = "grpc")]
            self.shared().closing.drains(draining);
            self.shared().common.epoch.advance();
            log(
                if draining {
                    "draining"
                } else {
                    "draining ended"
                },
                None,
            );
        }
    }

    /// Whether the app is draining.
    pub fn is_draining(&self) -> bool {
        self.shared().common.lifecycle.is_draining()
    }

    /// Takes the app out of rotation until [`exit_maintenance`](Self::exit_maintenance): readiness is 503 at
    /// once, with reason `maintenance`.
    ///
    /// `why` is the message of the answer, for authorized callers only, and stands in the log;
    /// it must hold no credentials. Control characters become spaces, and text over 256 bytes is
    /// cut. Liveness, startup and the full probe answer as before, and checks go on. Independent of draining, which
    /// is the reason shown if both are set. A second call replaces the text.
    ///
    /// ```
    /// use tower_health::{Health, Probe, Reason};
    ///
    /// let health = Health::builder().build();
    /// health.enter_maintenance("moving the disk, back at 14:00");
    /// let report = health.snapshot_for(&Probe::Readiness);
    /// assert_eq!(report.reason, Some(Reason::Maintenance));
    /// health.exit_maintenance();
    /// ```
    pub fn enter_maintenance(&self, why: impl Into<Cow<'static, str>>) {
        let why = one_line(why.into());
        let before = self
            .shared()
            .common
            .lifecycle
            .set_maintenance(Some(why.clone()));
        if before.is_none_or(|before| *before != why) {
            self.shared().common.epoch.advance();
            log("taken out for maintenance", Some(&why));
        }
    }

    /// Ends the maintenance that [`enter_maintenance`](Self::enter_maintenance) began, if there is one.
    pub fn exit_maintenance(&self) {
        if self
            .shared()
            .common
            .lifecycle
            .set_maintenance(None)
            .is_some()
        {
            self.shared().common.epoch.advance();
            log("put back after maintenance", None);
        }
    }

    /// The message of the maintenance; `None` outside one.
    pub fn maintenance_message(&self) -> Option<Cow<'static, str>> {
        let why = self.shared().common.lifecycle.maintenance();
        why.map(|why| (*why).clone())
    }
}

#[cfg(feature = "tracing")]
fn log(change: &str, why: Option<&str>) {
    tracing::info!(why, "{change}");
}

#[cfg(not(feature = "tracing"))]
fn log(_: &str, _: Option<&str>) {}
