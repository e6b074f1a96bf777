//! The lifecycle of the app: starting, started, in maintenance, draining.

use std::{borrow::Cow, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Health, state::Outdated};
use crate::{
    probe::Probe,
    report::{Reason, Status, one_line},
};

impl Health {
    /// Sets draining and returns after `delay`: readiness answers 503 at once, with reason `draining`.
    ///
    /// The app serves requests until load balancers have noticed. Liveness stays 200, and checks continue. Each
    /// call waits its own delay. Dropping the future leaves the app draining.
    ///
    /// # Panics
    ///
    /// Without a Tokio runtime that has a timer.
    #[doc(alias = "shutdown")]
    pub async fn drain(&self, delay: Duration) {
        #[cfg(feature = "grpc")]
        self.end_watches_after(delay);
        self.set_draining(true);
        sleep(delay).await;
    }

    /// Sets or ends draining without waiting. Setting the current value changes nothing.
    pub fn set_draining(&self, draining: bool) {
        if self.context().lifecycle.set_draining(draining) {
            self.context().epoch.advance();
            let change = if draining {
                "draining"
            } else {
                "draining ended"
            };
            log(change, None);
        }
    }

    /// Returns whether the app is draining.
    pub fn is_draining(&self) -> bool {
        self.context().lifecycle.is_draining()
    }

    pub(super) fn is_out_of_rotation(&self) -> bool {
        self.context().lifecycle.out_of_rotation().is_some()
    }

    /// Sets when open gRPC watches end, if the app is draining then.
    #[cfg(feature = "grpc")]
    pub(super) fn end_watches_after(&self, delay: Duration) {
        self.context().lifecycle.streams.drain_for(delay);
        self.context().epoch.notify();
    }

    /// Starts a maintenance: readiness answers 503 at once, with reason `maintenance`.
    ///
    /// It lasts until [`exit_maintenance`](Self::exit_maintenance). Liveness, startup and the full probe do not change, and checks continue. While the app also drains, the
    /// reason is `draining`. A second call replaces the message.
    ///
    /// Authorized callers and the log get `message`, so it must hold no credentials. Control characters
    /// become spaces, and a message over 256 bytes is cut.
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
    #[doc(alias = "maintenance")]
    pub fn enter_maintenance(&self, message: impl Into<Cow<'static, str>>) {
        let message = one_line(message.into());
        let lifecycle = &self.context().lifecycle;
        let previous = lifecycle.set_maintenance(Some(message.clone()));
        if previous.is_none_or(|previous| *previous != message) {
            self.context().epoch.advance();
            log("maintenance", Some(&message));
        }
    }

    /// Ends the maintenance that [`enter_maintenance`](Self::enter_maintenance) started, if there is one.
    pub fn exit_maintenance(&self) {
        if self.context().lifecycle.set_maintenance(None).is_some() {
            self.context().epoch.advance();
            log("maintenance ended", None);
        }
    }

    /// Returns the message of the maintenance; `None` outside a maintenance.
    pub fn maintenance_message(&self) -> Option<Cow<'static, str>> {
        let message = self.context().lifecycle.maintenance();
        message.map(|message| (*message).clone())
    }

    /// Makes the startup probe answer 200 from now on, whatever the status of the dependencies.
    pub fn set_started(&self) {
        if self.context().lifecycle.set_started() {
            self.context().epoch.advance();
        }
    }

    /// Returns whether the app has started.
    ///
    /// It has started once all required dependencies were up or degraded at the same time, or
    /// [`set_started`](Self::set_started) was called.
    pub fn is_started(&self) -> bool {
        self.latch(Instant::now());
        self.context().lifecycle.is_started()
    }

    /// Sets `started` if all that startup needs was up or degraded at the same time.
    pub(super) fn latch(&self, now: Instant) {
        if self.context().lifecycle.is_started() {
            return;
        }
        let states = self.states();
        let needed = states.iter().filter(|state| state.is_needed_to_start());
        let spans: Option<Vec<_>> = needed
            .map(|state| {
                let current = state.current(now, Outdated::Unknown(Reason::Pending, now));
                current.serving_span()
            })
            .collect();
        let is_at_once = |spans: Vec<(Instant, Instant)>| {
            let latest_start = spans.iter().map(|(start, _)| start).max();
            latest_start <= spans.iter().map(|(_, end)| end).min()
        };
        if spans.is_some_and(is_at_once) {
            self.set_started();
        }
    }

    /// The status, reason and message that the lifecycle gives `probe`; `None` without an effect.
    pub(super) fn lifecycle_status(
        &self,
        probe: &Probe,
    ) -> Option<(Status, Reason, Option<Cow<'static, str>>)> {
        let follows = follows_lifecycle(probe);
        if follows && let Some((reason, message)) = self.context().lifecycle.out_of_rotation() {
            return Some((Status::Down, reason, message));
        }
        // Otherwise a group with a misspelled name would be up: it has no member that is down.
        if let Probe::Group(group) = probe
            && !self.has_group(group)
        {
            return Some((Status::Unknown, Reason::NotFound, None));
        }
        let needs_start = follows || *probe == Probe::Startup;
        (needs_start && !self.is_started()).then_some((Status::Unknown, Reason::Starting, None))
    }
}

/// Whether `probe` fails while the app starts, drains or is in maintenance.
pub(super) fn follows_lifecycle(probe: &Probe) -> bool {
    matches!(probe, Probe::Readiness | Probe::Group(_))
}

#[cfg(feature = "tracing")]
fn log(change: &str, why: Option<&str>) {
    tracing::info!(target: "tower_health", why, "{change}");
}

#[cfg(not(feature = "tracing"))]
fn log(_: &str, _: Option<&str>) {}
