//! In traffic or out of it: drained for good, or taken out for maintenance and put back.

use std::{borrow::Cow, time::Duration};

use tokio::time::sleep;

use super::Health;
use crate::report::one_line;

impl Health {
    /// Takes the app out of traffic and keeps serving: readiness is 503 at once, with reason
    /// `draining`; returns after `delay`, when balancers have noticed.
    ///
    /// Liveness stays 200. May be called again, as from a second signal; each call waits its own
    /// delay. Dropping the future leaves the app draining.
    pub async fn drain(&self, delay: Duration) {
        #[cfg(feature = "grpc")]
        {
            self.shared().closing.drains_for(delay);
            self.nudge();
        }
        self.set_draining(true);
        sleep(delay).await;
    }

    /// Sets or ends draining without waiting. Setting what is set already changes nothing.
    pub fn set_draining(&self, draining: bool) {
        if self.shared().lifecycle.set_draining(draining) {
            #[cfg(feature = "grpc")]
            self.shared().closing.drains(draining);
            self.shared().epoch.advance();
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
        self.shared().lifecycle.is_draining()
    }

    /// Takes the app out of traffic by hand until [`exit_maintenance`](Self::exit_maintenance): readiness is 503 at
    /// once, with reason `maintenance`.
    ///
    /// `why` stands in the answer as its message, for those allowed details only, and in the log;
    /// it must hold no credentials. Control characters become spaces, and over 256 bytes are
    /// cut. Liveness, startup and the full probe answer as before. Independent of draining, which
    /// is the reason shown when both hold. Called again, it replaces the text.
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
        let before = self.shared().lifecycle.set_maintenance(Some(why.clone()));
        if before.is_none_or(|before| *before != why) {
            self.shared().epoch.advance();
            log("taken out for maintenance", Some(&why));
        }
    }

    /// Ends what [`enter_maintenance`](Self::enter_maintenance) began. Nothing otherwise.
    pub fn exit_maintenance(&self) {
        if self.shared().lifecycle.set_maintenance(None).is_some() {
            self.shared().epoch.advance();
            log("put back after maintenance", None);
        }
    }

    /// Why the app is taken out for maintenance, as it was kept; `None` when it is not.
    pub fn maintenance_message(&self) -> Option<Cow<'static, str>> {
        let why = self.shared().lifecycle.maintenance();
        why.map(|why| (*why).clone())
    }
}

#[cfg(feature = "tracing")]
fn log(turn: &str, why: Option<&str>) {
    tracing::info!(why, "{turn}");
}

#[cfg(not(feature = "tracing"))]
fn log(_: &str, _: Option<&str>) {}
