//! Open gRPC watches, and the one task that checks on behalf of all of them.
//!
//! 1. Watches of one known name share its status; the driver updates all names of a handle.
//! 2. The driver looks when the epoch moves and when a result expires, which starts the next run:
//!    checks run at their period while a watch is open.
//! 3. A watch of an unknown name registers nothing: all of them share one channel, and each
//!    resolves its name again when dependencies are added or removed.
//! 4. The driver ends with the last watch. It runs on the runtime of the watch that started it; if
//!    that runtime is gone, the next watch starts a driver again.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch::{Receiver, Sender},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Health, closing::LINGER, watch_limits::OpenWatches};
use crate::{bounds::MAX_DURATION, report::Status};

/// The least time between two passes of the driver: many results at once are one pass.
const PAUSE: Duration = Duration::from_millis(2);

/// How long the first message waits for the first result. Clients fail calls on `NOT_SERVING`
/// that they would otherwise queue.
const FIRST_RESULT: Duration = Duration::from_millis(50);

/// How soon to look again during a run: its end moves the epoch, its overrun does not.
const RECHECK: Duration = Duration::from_millis(100);

/// The status that a watch sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchedStatus {
    Serving,
    NotServing,
    UnknownName,
}

impl From<Status> for WatchedStatus {
    fn from(status: Status) -> Self {
        if status.is_serving() {
            Self::Serving
        } else {
            Self::NotServing
        }
    }
}

/// A limit of open watches is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyWatches;

/// All watches of a handle.
#[derive(Debug)]
pub(super) struct Watches {
    state: Mutex<State>,
    /// For all watches of unknown names.
    unknown: Sender<WatchUpdate>,
}

#[derive(Debug, Default)]
struct State {
    open: OpenWatches,
    names: HashMap<WatchKey, Arc<WatchedName>>,
    driver: Option<AbortHandle>,
}

/// A name as a caller with or without details sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WatchKey {
    name: Box<str>,
    sees_details: bool,
}

/// The newest state of a name: a slow reader misses what was in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WatchUpdate {
    /// `None` while the first message waits for the first result.
    status: Option<WatchedStatus>,
    /// Watches end once they have sent the status.
    ends: bool,
    /// Moves when dependencies are added or removed; for watches of unknown names only.
    registry: u64,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            unknown: Sender::new(WatchUpdate {
                status: Some(WatchedStatus::UnknownName),
                ends: false,
                registry: 0,
            }),
        }
    }
}

impl Watches {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_unknown(&self, ends: bool, registry_moved: bool) {
        self.unknown.send_if_modified(|update| {
            let changed = registry_moved || update.ends != ends;
            update.registry += u64::from(registry_moved);
            update.ends = ends;
            changed
        });
    }

    /// Updates every watched name, and returns when to do so again.
    // Not under the lock: waking a task may run any code.
    fn pass(&self, health: &Health, now: Instant, registry_moved: bool) -> Instant {
        let ends = health.watches_end(now);
        self.update_unknown(ends, registry_moved);
        let names: Vec<_> = {
            let names = &mut self.state().names;
            names.retain(|_, name| name.updates.receiver_count() > 0);
            names.values().cloned().collect()
        };
        let closes_at = health.streams_close_at().filter(|at| *at > now);
        let next = closes_at.unwrap_or(now + MAX_DURATION);
        let looks = names.iter().map(|name| name.look(health, now, ends));
        looks.fold(next, Instant::min)
    }
}

/// A known name that is watched.
#[derive(Debug)]
struct WatchedName {
    key: WatchKey,
    /// Until then an unknown status is not sent.
    first_result_by: Instant,
    updates: Sender<WatchUpdate>,
}

impl WatchedName {
    fn new(key: WatchKey, now: Instant) -> Self {
        Self {
            key,
            first_result_by: now + FIRST_RESULT,
            updates: Sender::new(WatchUpdate {
                status: None,
                ends: false,
                registry: 0,
            }),
        }
    }

    /// Updates the status, starts the runs that are due, and returns when to look again.
    fn look(&self, health: &Health, now: Instant, ends: bool) -> Instant {
        let Some(target) = health.resolve(&self.key.name, self.key.sees_details) else {
            self.update(Some(WatchedStatus::UnknownName), ends);
            return now + MAX_DURATION;
        };
        let current = health.current_status(target, now, true);
        let again = if current.is_valid(now) {
            current.valid_until
        } else {
            now + RECHECK
        };
        if current.status == Status::Unknown && now < self.first_result_by {
            self.update(None, ends);
            again.min(self.first_result_by)
        } else {
            self.update(Some(current.status.into()), ends);
            again
        }
    }

    /// Wakes each watch once, and none if nothing changed.
    fn update(&self, status: Option<WatchedStatus>, ends: bool) {
        self.updates.send_if_modified(|update| {
            let new = WatchUpdate {
                // What was sent is not withdrawn.
                status: status.or(update.status),
                ends,
                ..*update
            };
            let changed = *update != new;
            *update = new;
            changed
        });
    }
}

async fn drive(health: Health) {
    let mut known = None;
    loop {
        // Before the pass, so that a change during it is not missed.
        let moved = health.epoch_moved();
        let now = Instant::now();
        let dependencies = health.cells();
        let same = |known: &_| Arc::ptr_eq(known, &dependencies);
        let registry_moved = !known.as_ref().is_some_and(same);
        known = Some(dependencies);
        let next = health.watches().pass(&health, now, registry_moved);
        // Whichever comes first.
        let _ = timeout_at(next, moved).await;
        sleep_until(now + PAUSE).await;
    }
}

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
            // Since the last pass of a driver that has ended.
            self.watches().update_unknown(ends, false);
            (self.watches().unknown.subscribe(), Some(key))
        };
        Ok(Watch {
            guard,
            updates,
            unknown,
            sent: None,
            // A client whose watch ends at once would retry at once.
            late: ends.then(|| now + LINGER),
        })
    }

    fn watches(&self) -> &Watches {
        &self.shared().watches
    }

    fn updates_of(&self, key: WatchKey, now: Instant) -> Receiver<WatchUpdate> {
        let watches = self.watches();
        if let Some(name) = watches.state().names.get(&key) {
            return name.updates.subscribe();
        }
        let name = WatchedName::new(key.clone(), now);
        name.look(self, now, self.watches_end(now));
        let updates = {
            // Another watch may have been first.
            let mut state = watches.state();
            let name = state.names.entry(key).or_insert_with(|| Arc::new(name));
            name.updates.subscribe()
        };
        // The driver's plan lacks this name, and what moved since its look.
        self.nudge();
        updates
    }

    /// Whether open watches are to end.
    fn watches_end(&self, now: Instant) -> bool {
        self.is_draining() && self.streams_close_at().is_some_and(|at| at <= now)
    }
}

/// One open watch. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    guard: WatcherGuard,
    updates: Receiver<WatchUpdate>,
    /// The name, until it becomes known.
    unknown: Option<WatchKey>,
    sent: Option<WatchedStatus>,
    /// The end of a watch that was opened when watches were to end already.
    late: Option<Instant>,
}

impl Watch {
    /// The next status, never the same twice; `None` if the server is about to stop.
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
            let changed = match self.late {
                Some(end) => Box::pin(timeout_at(end, changed)).await.ok(),
                None if update.ends => None,
                None => Some(changed.await),
            };
            changed?.ok()?;
        }
    }

    /// The updates of the name, if it was unknown and no longer is.
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

/// The place of a watch among all; the last one that is dropped ends the driver.
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
        let mut state = health.watches().state();
        let limits = health.services().limits;
        if !state.open.open(limits, peer, is_unknown) {
            return Err(TooManyWatches);
        }
        // Finished without being aborted: its runtime is gone.
        if state.driver.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            state.driver = Some(runtime.spawn(drive(health.clone())).abort_handle());
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
            let mut state = self.health.watches().state();
            state.open.becomes_known(self.peer);
        }
    }
}

impl Drop for WatcherGuard {
    fn drop(&mut self) {
        let mut state = self.health.watches().state();
        state.open.close(self.peer, self.is_unknown);
        if !state.open.is_empty() {
            return;
        }
        let names = std::mem::take(&mut state.names);
        let driver = state.driver.take();
        drop(state);
        drop(names);
        if let Some(driver) = driver {
            driver.abort();
        }
    }
}
