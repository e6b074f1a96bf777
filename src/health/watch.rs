//! Open gRPC watches, and the one task that runs the checks for all of them.
//!
//! 1. Watches of a known name share its channel. The driver updates all names of a handle.
//! 2. The driver makes a pass when the epoch changes and when a result expires. A pass starts the runs that are due:
//!    checks run at their period while a watch is open.
//! 3. Watches of unknown names share one channel. Each resolves its name again when dependencies are added or
//!    removed.
//! 4. The driver ends with the last watch. It runs on the runtime of the watch that started it. If that
//!    runtime is gone, the next watch starts a driver again.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch::Receiver,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Health,
    context::WATCH_GRACE,
    watches::{TooManyWatches, WatchKey, WatchUpdate, WatchedName, WatchedStatus, Watches},
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
        let now = Instant::now();
        let ends = self.watches_end(now);
        let key = WatchKey {
            name: name.into(),
            sees_details,
        };
        let is_known = self.resolve(name, sees_details).is_some();
        let guard = WatcherGuard::new(self, peer, !is_known)?;
        let (updates, unknown) = if is_known {
            (self.updates_of(key, now), None)
        } else {
            // The last driver may have ended before a drain did.
            self.watches().update_unknown(ends, false);
            (self.watches().unknown.subscribe(), Some(key))
        };
        Ok(Watch {
            guard,
            updates,
            unknown,
            sent: None,
            // If the watch ended at once, its client would retry at once.
            late_end: ends.then(|| now + WATCH_GRACE),
        })
    }

    fn watches(&self) -> &Watches {
        &self.shared.watches
    }

    fn updates_of(&self, key: WatchKey, now: Instant) -> Receiver<WatchUpdate> {
        if let Some(name) = self.watches().table().names.get(&key) {
            return name.updates.subscribe();
        }
        let name = WatchedName::new(key.clone(), now + FIRST_RESULT);
        self.update_name(&name, now, self.watches_end(now));
        let updates = {
            // Another watch may have been first.
            let mut table = self.watches().table();
            let name = table.names.entry(key).or_insert_with(|| Arc::new(name));
            name.updates.subscribe()
        };
        // The driver does not know this name yet, and its status may have changed since.
        self.context().epoch.notify();
        updates
    }

    /// Whether open watches end now.
    fn watches_end(&self, now: Instant) -> bool {
        let planned = self.context().lifecycle.streams.planned_at();
        self.is_draining() && planned.is_some_and(|at| at <= now)
    }

    /// Updates every watched name. Returns when the next pass is due.
    // Not under the lock: waking a task may run any code.
    fn update_names(&self, now: Instant, registry_changed: bool) -> Instant {
        let ends = self.watches_end(now);
        self.watches().update_unknown(ends, registry_changed);
        let names: Vec<_> = {
            let names = &mut self.watches().table().names;
            names.retain(|_, name| name.updates.receiver_count() > 0);
            names.values().cloned().collect()
        };
        let planned = self.context().lifecycle.streams.planned_at();
        let next = planned.filter(|at| *at > now).unwrap_or(now + MAX_DURATION);
        let names = names.iter();
        names.fold(next, |next, name| {
            next.min(self.update_name(name, now, ends))
        })
    }

    /// Updates the status of `name`, and starts the runs that are due. Returns when to update it again.
    fn update_name(&self, name: &WatchedName, now: Instant, ends: bool) -> Instant {
        let Some(target) = self.resolve(&name.key.name, name.key.sees_details) else {
            name.update(Some(WatchedStatus::UnknownName), ends);
            return now + MAX_DURATION;
        };
        let current = self.current_status(target, now, true);
        let next = if current.is_valid(now) {
            current.valid_until
        } else {
            now + RECHECK
        };
        if current.status == Status::Unknown && now < name.first_result_by {
            name.update(None, ends);
            next.min(name.first_result_by)
        } else {
            name.update(Some(current.status.into()), ends);
            next
        }
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
    updates: Receiver<WatchUpdate>,
    /// The name, while it is unknown.
    unknown: Option<WatchKey>,
    sent: Option<WatchedStatus>,
    /// The end of a watch that was opened after the end of the others.
    late_end: Option<Instant>,
}

impl Watch {
    /// Returns the next status, never the same twice; `None` if the server is about to stop.
    pub(crate) async fn next(&mut self) -> Option<WatchedStatus> {
        loop {
            let update = *self.updates.borrow_and_update();
            if let Some(updates) = self.known_updates() {
                self.updates = updates;
                continue;
            }
            if let Some(status) = update.status
                && self.sent != update.status
            {
                self.sent = update.status;
                return Some(status);
            }
            let changed = self.updates.changed();
            // The sender outlives the handle that the guard holds.
            let changed = match self.late_end {
                Some(end) => Box::pin(timeout_at(end, changed)).await.ok(),
                None if update.ends => None,
                None => Some(changed.await),
            };
            changed?.ok()?;
        }
    }

    /// The channel of the name, if the name has become known.
    fn known_updates(&mut self) -> Option<Receiver<WatchUpdate>> {
        let health = &self.guard.health;
        let key = self.unknown.as_ref()?;
        health.resolve(&key.name, key.sees_details)?;
        let key = self.unknown.take()?;
        let updates = health.updates_of(key, Instant::now());
        self.guard.becomes_known();
        Some(updates)
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
        if !table.open.is_empty() {
            return;
        }
        let names = std::mem::take(&mut table.names);
        let driver = table.driver.take();
        drop(table);
        drop(names);
        if let Some(driver) = driver {
            driver.abort();
        }
    }
}
