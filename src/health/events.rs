//! Transitions: to the log, and to subscribers.
//!
//! 1. A transition is a change of the status that a dependency shows: after a completed run, when a run
//!    proves stuck, when a background refresh is overdue. A new reason for the same status is none, and
//!    neither are the app's own (started, draining, maintenance): it makes them itself.
//! 2. One log event per transition, none per probe.
//! 3. A subscriber that falls behind gets the last transition of each dependency.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::Instant,
};

use super::handle::Shared;
use crate::{
    dependency::Dependency,
    monitor::{result::LastResult, single_flight::Published},
    report::{Reason, Status},
};

/// So many wait for a subscriber; past that it gets the last one of each dependency.
const CAPACITY: usize = 256;

/// A change of a dependency's status.
///
/// Serialises to one JSON object with all of it but `at`; show it only to those who may see details:
///
/// ```json
/// {"name":"database","kind":"postgres","required":true,"from":"up","to":"down",
///  "reason":"timeout","message":"no answer within 800 ms","previous_for_ms":86400000}
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transition {
    /// The dependency's name.
    pub name: Arc<str>,
    /// What it is, as in `postgres`.
    pub kind: Option<Cow<'static, str>>,
    /// Whether readiness fails with it.
    pub required: bool,
    /// The status before; unknown for the first one.
    pub from: Status,
    /// The status now.
    pub to: Status,
    /// Why it is not up.
    pub reason: Option<Reason>,
    /// A sentence without credentials.
    pub message: Option<Cow<'static, str>>,
    /// How long the status before had lasted.
    pub previous_for: Duration,
    /// The end of the run that changed it.
    pub at: Instant,
}

impl Transition {
    /// The transition that `published` is, if it is one; `created_at` is when there was no result yet.
    pub(super) fn of(
        dependency: &Dependency,
        required: bool,
        published: &Published<LastResult>,
        created_at: Instant,
    ) -> Option<Self> {
        let (before, result) = (published.previous.as_deref(), &published.value);
        let from = before.map_or(Status::Unknown, |before| before.status);
        if from == result.status {
            return None;
        }
        let since = before
            .and_then(|before| before.shown_since)
            .unwrap_or(created_at);
        Some(Self {
            name: dependency.name.clone(),
            kind: dependency.kind.clone(),
            required,
            from,
            to: result.status,
            reason: result.reason,
            message: result.message.clone(),
            previous_for: result.ended.saturating_duration_since(since),
            at: result.ended,
        })
    }
}

impl Serialize for Transition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &*self.name)?;
        if let Some(kind) = &self.kind {
            map.serialize_entry("kind", kind)?;
        }
        map.serialize_entry("required", &self.required)?;
        map.serialize_entry("from", &self.from)?;
        map.serialize_entry("to", &self.to)?;
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", &reason)?;
        }
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        let after = u64::try_from(self.previous_for.as_millis()).unwrap_or(u64::MAX);
        map.serialize_entry("previous_for_ms", &after)?;
        map.end()
    }
}

/// Where transitions are published. It ends with the last handle, and that ends the subscribers.
#[derive(Debug, Default)]
pub(super) struct Broadcaster {
    /// Made by the first subscriber.
    sender: OnceLock<broadcast::Sender<Arc<Event>>>,
    latest: Arc<Mutex<Latest>>,
}

#[derive(Debug)]
struct Event {
    number: u64,
    transition: Transition,
    /// Set once the dependency is removed.
    retired: Arc<AtomicBool>,
}

/// The last event of each dependency.
#[derive(Debug, Default)]
struct Latest {
    number: u64,
    events: HashMap<Arc<str>, Arc<Event>>,
}

impl Broadcaster {
    /// A subscriber to what is published from now on. `shared` is what it keeps running.
    pub(super) fn subscribe(&self, shared: Weak<Shared>) -> Transitions {
        let sender = self.sender.get_or_init(|| broadcast::channel(CAPACITY).0);
        // Under the lock, so that the number is that of the last event before the first received one.
        let latest = lock(&self.latest);
        Transitions {
            receiver: sender.subscribe(),
            latest: self.latest.clone(),
            missed: VecDeque::new(),
            seen: latest.number,
            shared,
        }
    }

    pub(super) fn has_subscribers(&self) -> bool {
        let sender = self.sender.get();
        sender.is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Publishes `transition`, unless its dependency is `retired`.
    pub(super) fn publish(&self, transition: Transition, retired: &Arc<AtomicBool>) {
        let mut latest = lock(&self.latest);
        if retired.load(Ordering::Acquire) {
            return;
        }
        latest.number += 1;
        let event = Arc::new(Event {
            number: latest.number,
            transition,
            retired: retired.clone(),
        });
        let name = event.transition.name.clone();
        latest.events.insert(name, event.clone());
        if let Some(sender) = self.sender.get() {
            // Fails without subscribers.
            let _ = sender.send(event);
        }
    }

    /// Drops the last event of the dependency called `name`; after it was retired.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.latest).events.remove(name);
    }
}

fn lock(latest: &Mutex<Latest>) -> MutexGuard<'_, Latest> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A subscriber's place among the transitions. Made by [`Health::subscribe`](crate::Health::subscribe).
///
/// A clone goes on by itself: it gets each dependency's last transition that the original has not
/// returned yet, and all that follow.
///
/// ```no_run
/// # async fn listen(health: tower_health::Health) {
/// let mut transitions = health.subscribe();
/// while let Some(transition) = transitions.recv().await {
///     let (name, from, to) = (&transition.name, transition.from, transition.to);
///     println!("{name} was {from} for {:?} and is {to}", transition.previous_for);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Transitions {
    receiver: broadcast::Receiver<Arc<Event>>,
    latest: Arc<Mutex<Latest>>,
    /// What comes before anything received, oldest first.
    missed: VecDeque<Arc<Event>>,
    /// The number of the last event that was returned.
    seen: u64,
    shared: Weak<Shared>,
}

impl Transitions {
    /// Waits for the next transition; `None` once the last handle is gone and all were returned.
    ///
    /// A subscriber that is more than 256 transitions behind gets the last one of each dependency
    /// instead of those between. After its removal a dependency has no transitions. A layer
    /// holds a handle, too. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Transition> {
        if let Some(shared) = self.shared.upgrade() {
            // The runtime that it was subscribed on may be gone.
            shared.keep_refreshing();
        }
        loop {
            let event = match self.missed.pop_front() {
                Some(event) => event,
                None => match self.receiver.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => {
                        self.catch_up();
                        continue;
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            if event.number > self.seen {
                self.seen = event.number;
                if !event.retired.load(Ordering::Acquire) {
                    return Some(event.transition.clone());
                }
            }
        }
    }

    /// Goes to the end of the channel, by way of each dependency's last event.
    fn catch_up(&mut self) {
        let latest = lock(&self.latest);
        self.receiver = self.receiver.resubscribe();
        let mut missed: Vec<_> = latest.events.values().cloned().collect();
        drop(latest);
        missed.sort_by_key(|event| event.number);
        self.missed = missed.into();
    }
}

impl Clone for Transitions {
    fn clone(&self) -> Self {
        let mut clone = Self {
            receiver: self.receiver.resubscribe(),
            latest: self.latest.clone(),
            missed: VecDeque::new(),
            seen: self.seen,
            shared: self.shared.clone(),
        };
        clone.catch_up();
        clone
    }
}

/// Logs `published` if it changed the status.
#[cfg(feature = "tracing")]
pub(super) fn log(dependency: &Dependency, published: &Published<LastResult>, cause: Option<&str>) {
    let before = published.previous.as_deref();
    let from = before.map_or(Status::Unknown, |before| before.status);
    let to = published.value.status;
    if from == to {
        return;
    }
    let name = &*dependency.name;
    let reason = published.value.reason.map(Reason::as_str);
    if to == Status::Down {
        tracing::warn!(dependency = name, %from, %to, reason, cause, "dependency is down");
        return;
    }
    let outage_ms = before
        .and_then(|before| before.failing_since)
        .map(|since| published.value.started.saturating_duration_since(since))
        .map(|outage| u64::try_from(outage.as_millis()).unwrap_or(u64::MAX));
    tracing::info!(dependency = name, %from, %to, reason, outage_ms, "dependency is {to}");
}

#[cfg(not(feature = "tracing"))]
pub(super) fn log(_: &Dependency, _: &Published<LastResult>, _: Option<&str>) {}
