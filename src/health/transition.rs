//! The changes of the displayed status of a dependency, for the log and for subscribers.
//!
//! 1. A transition is a change of the displayed status: after a completed run, when a run is stuck, or when a
//!    background refresh is overdue. A new reason for the same status is not a transition. Neither is a change
//!    of the lifecycle, which the app makes itself.
//! 2. Each transition is one log event. A probe is not logged.
//! 3. A subscriber that falls behind gets the last transition of each dependency.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, Serializer};
use tokio::{
    sync::broadcast::{Receiver, Sender, channel},
    time::Instant,
};

use crate::{
    dependency::Dependency,
    monitor::{result::LastResult, single_flight::Published},
    report::{Reason, Status, whole_millis},
};

/// The most transitions that wait for a subscriber. After that it gets the last one of each dependency.
const CAPACITY: usize = 256;

/// A change of the displayed status of one dependency.
///
/// It serializes to one JSON object with every field except `at`. Send it to authorized callers only:
///
/// ```json
/// {"name":"database","kind":"postgres","required":true,"from":"up","to":"down",
///  "reason":"timeout","message":"no answer within 800 ms","previous_for_ms":86400000}
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Transition {
    /// The name of the dependency.
    #[serde(serialize_with = "as_text")]
    pub name: Arc<str>,
    /// The kind, as in `postgres`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'static, str>>,
    /// Whether readiness fails if the dependency is down.
    pub required: bool,
    /// The previous status; unknown in the first transition.
    pub from: Status,
    /// The new status.
    pub to: Status,
    /// The reason why it is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The message of the check, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'static, str>>,
    /// How long the previous status lasted.
    #[serde(rename = "previous_for_ms", serialize_with = "as_millis")]
    pub previous_for: Duration,
    /// When the run ended that changed the status.
    #[serde(skip)]
    pub at: Instant,
}

fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn as_millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(whole_millis(*time))
}

impl Transition {
    /// The transition that `published` makes, if any.
    ///
    /// Before the first result the status was unknown since `created_at`.
    pub(super) fn of(
        dependency: &Dependency,
        required: bool,
        published: &Published<LastResult>,
        created_at: Instant,
    ) -> Option<Self> {
        let (previous, result) = (published.previous.as_deref(), &published.value);
        let from = previous.map_or(Status::Unknown, |previous| previous.status);
        if from == result.status {
            return None;
        }
        let since = previous
            .and_then(|previous| previous.shown_since)
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

/// Sends transitions to the subscribers. Dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Broadcaster {
    /// Created for the first subscriber.
    sender: OnceLock<Sender<Arc<TransitionEvent>>>,
    latest: Arc<Mutex<LatestEvents>>,
}

#[derive(Debug)]
pub(super) struct TransitionEvent {
    pub(super) number: u64,
    pub(super) transition: Transition,
    /// Set once the dependency is removed.
    retired: Arc<AtomicBool>,
}

impl TransitionEvent {
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

/// The last event of each dependency.
#[derive(Debug, Default)]
pub(super) struct LatestEvents {
    /// The number of the last event of all.
    pub(super) number: u64,
    pub(super) events: HashMap<Arc<str>, Arc<TransitionEvent>>,
}

impl Broadcaster {
    pub(super) fn receiver(&self) -> Receiver<Arc<TransitionEvent>> {
        self.sender.get_or_init(|| channel(CAPACITY).0).subscribe()
    }

    pub(super) fn latest(&self) -> &Arc<Mutex<LatestEvents>> {
        &self.latest
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
        let event = Arc::new(TransitionEvent {
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

    /// Drops the last event of the dependency called `name`, which must be retired.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.latest).events.remove(name);
    }
}

pub(super) fn lock(latest: &Mutex<LatestEvents>) -> MutexGuard<'_, LatestEvents> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs `transition`, which `published` made.
#[cfg(feature = "tracing")]
pub(super) fn log(transition: &Transition, published: &Published<LastResult>, cause: Option<&str>) {
    let Transition { name, from, to, .. } = transition;
    let reason = transition.reason.map(Reason::as_str);
    if *to == Status::Down {
        tracing::warn!(target: "tower_health", dependency = &**name, %from, %to, reason, cause, "dependency is down");
        return;
    }
    let failing_since = published
        .previous
        .as_ref()
        .and_then(|last| last.failing_since);
    let outage_ms = failing_since
        .map(|since| published.value.started.saturating_duration_since(since))
        .map(whole_millis);
    tracing::info!(target: "tower_health", dependency = &**name, %from, %to, reason, outage_ms, "dependency is {to}");
}

#[cfg(not(feature = "tracing"))]
pub(super) fn log(_: &Transition, _: &Published<LastResult>, _: Option<&str>) {}
