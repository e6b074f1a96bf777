//! Open gRPC watches, and the one task that runs the checks for all of them.
//!
//! 1. Watches of a name share its channel. The driver updates all names of a handle.
//! 2. The driver makes a pass when the epoch changes and when a result expires. A pass starts the runs that are due:
//!    checks run at their period while a watch is open.
//! 3. A pass resolves unknown names again only if dependencies were added or removed.
//! 4. To end watches, the driver drops the channels of their names.
//! 5. The driver ends with the last watch. It runs on the runtime of the watch that started it. If that
//!    runtime is gone, the next watch starts a driver again.

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch::Receiver,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Health,
    watches::{TooManyWatches, WatchKey, WatchedName, WatchedStatus, Watches},
};
use crate::{bounds::MAX_DURATION, report::Status};

/// The least time between two passes of the driver, so that one pass covers many results.
const PASS_PAUSE: Duration = Duration::from_millis(2);

/// How long the first message waits for the first result.
///
/// On `NOT_SERVING` clients fail calls that they would queue otherwise.
const FIRST_RESULT: Duration = Duration::from_millis(50);

/// How soon the next pass follows during a run: its end changes the epoch, its overrun does not.
const RECHECK: Duration = Duration::from_millis(100);

impl Health {
    /// Opens a watch of `name` for a caller at `peer`.
    pub(crate) fn watch(
        &self,
        name: &str,
        sees_details: bool,
        peer: Option<SocketAddr>,
    ) -> Result<Watch, TooManyWatches> {
        let key = WatchKey {
            name: name.into(),
            sees_details,
        };
        let is_unknown = self.resolve(name, sees_details).is_none();
        Ok(Watch {
            guard: WatcherGuard::new(self, peer, is_unknown)?,
            updates: self.updates_of(key, Instant::now()),
            sent: None,
        })
    }

    fn watches(&self) -> &Watches {
        &self.shared.watches
    }

    fn updates_of(&self, key: WatchKey, now: Instant) -> Receiver<Option<WatchedStatus>> {
        if let Some(name) = self.watches().table().names.get(&key) {
            return name.updates.subscribe();
        }
        let name = WatchedName::new(key.clone(), now);
        self.update_name(&name, now);
        let (name, updates) = {
            // Another watch may have been first.
            let mut table = self.watches().table();
            let name = table.names.entry(key).or_insert_with(|| Arc::new(name));
            (name.clone(), name.updates.subscribe())
        };
        // The driver does not know this name yet, and its status may have changed since.
        if name.is_unknown()
            && self
                .resolve(&name.key.name, name.key.sees_details)
                .is_some()
        {
            self.update_name(&name, now);
        }
        self.context().epoch.notify();
        updates
    }

    /// Updates every watched name, and ends its watches if it is time. Returns when the next pass is due.
    // Not under the lock: waking a task may run any code.
    fn update_names(&self, now: Instant, registry_changed: bool) -> Instant {
        let names: Vec<_> = self.watches().table().names.values().cloned().collect();
        let known = names.iter();
        let known = known.filter(|name| registry_changed || !name.is_unknown());
        let mut next = known.fold(now + MAX_DURATION, |next, name| {
            next.min(self.update_name(name, now))
        });
        let planned = self.context().lifecycle.streams.planned_at();
        let planned = planned.filter(|_| self.is_draining());
        self.watches().table().names.retain(|_, name| {
            let end = planned.map(|planned| name.ends_at(planned));
            next = next.min(end.filter(|at| now < *at).unwrap_or(next));
            name.updates.receiver_count() > 0 && end.is_none_or(|at| now < at)
        });
        next
    }

    /// Updates the status of `name`, and starts the runs that are due. Returns when to update it again.
    fn update_name(&self, name: &WatchedName, now: Instant) -> Instant {
        let Some(target) = self.resolve(&name.key.name, name.key.sees_details) else {
            name.update(Some(WatchedStatus::UnknownName));
            return now + MAX_DURATION;
        };
        let current = self.current_status(target, now, true);
        let next = if current.is_valid(now) {
            current.valid_until
        } else {
            now + RECHECK
        };
        let first_result_by = name.opened_at + FIRST_RESULT;
        if current.status == Status::Unknown && now < first_result_by {
            name.update(None);
            return next.min(first_result_by);
        }
        name.update(Some(current.status.into()));
        next
    }
}

async fn drive(health: Health) {
    let mut known = None;
    loop {
        // Before the pass, so that a change during the pass is not missed.
        let changed = health.context().epoch.changed();
        let now = Instant::now();
        let states = health.states();
        let is_same = known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &states));
        known = Some(states);
        let next = health.update_names(now, !is_same);
        // Whichever is first.
        let _ = timeout_at(next, changed).await;
        sleep_until(now + PASS_PAUSE).await;
    }
}

/// One open watch. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    guard: WatcherGuard,
    updates: Receiver<Option<WatchedStatus>>,
    sent: Option<WatchedStatus>,
}

impl Watch {
    /// Returns the next status, never the same twice; `None` if the server is about to stop.
    pub(crate) async fn next(&mut self) -> Option<WatchedStatus> {
        loop {
            let status = *self.updates.borrow_and_update();
            if status.is_some() && status != self.sent {
                self.sent = status;
                if status != Some(WatchedStatus::UnknownName) {
                    self.guard.becomes_known();
                }
                return status;
            }
            self.updates.changed().await.ok()?;
        }
    }
}

/// Counts an open watch. Dropping the last guard ends the driver.
#[derive(Debug)]
struct WatcherGuard {
    health: Health,
    peer: Option<SocketAddr>,
    is_unknown: bool,
}

impl WatcherGuard {
    fn new(
        health: &Health,
        peer: Option<SocketAddr>,
        is_unknown: bool,
    ) -> Result<Self, TooManyWatches> {
        let mut table = health.watches().table();
        let limits = health.shared.grpc.limits;
        if !table.open.open(limits, peer, is_unknown) {
            return Err(TooManyWatches);
        }
        // A driver that ended without an abort: its runtime is gone.
        if table.driver.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            table.driver = Some(runtime.spawn(drive(health.clone())).abort_handle());
        }
        Ok(Self {
            health: health.clone(),
            peer,
            is_unknown,
        })
    }

    fn becomes_known(&mut self) {
        if self.is_unknown {
            self.is_unknown = false;
            let mut table = self.health.watches().table();
            table.open.becomes_known(self.peer);
        }
    }
}

impl Drop for WatcherGuard {
    fn drop(&mut self) {
        let mut table = self.health.watches().table();
        table.open.close(self.peer, self.is_unknown);
        let last = table.open.is_empty().then(|| mem::take(&mut *table));
        drop(table);
        if let Some(driver) = last.and_then(|table| table.driver) {
            driver.abort();
        }
    }
}
