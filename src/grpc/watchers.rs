//! Who watches, and the one task that looks on behalf of all of them.
//!
//! 1. Watchers of the same name share a feed; the driver fills all feeds of a handle.
//! 2. The driver looks when the epoch moves and when a verdict runs out, which starts
//!    the next run: checks run at their period while anybody watches.
//! 3. It ends with the last watcher, and is started again by the next.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    feed::{Feed, News},
    message::ServingStatus,
    names,
    status::Refusal,
};
use crate::{bounds::LONGEST, engine::cell::Cell, health::Health, render::Detail, report::Status};

/// How many may watch one handle at a time.
pub(super) const MAX_WATCHERS: usize = 10_000;

/// After draining was set without a delay of its own: long enough to take it back, too
/// short to hold up a shutdown.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How long the first message waits for a verdict under way: one that is up must not begin
/// with `NOT_SERVING`, which makes clients fail what they would have queued.
const FIRST_VERDICT: Duration = Duration::from_millis(50);

/// How soon the driver looks again while a run is under way: its end is told, but not
/// that it is overdue.
const RECHECK: Duration = Duration::from_millis(100);

/// Between two looks, at least: many verdicts at once are one look.
const PAUSE: Duration = Duration::from_millis(2);

/// All watchers of a handle.
#[derive(Default)]
pub(crate) struct Watchers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    feeds: HashMap<Key, Watched>,
    count: usize,
    driver: Option<AbortHandle>,
    /// The members at the last look: only other ones can make an unknown name known.
    members: Option<Arc<Vec<Arc<Cell>>>>,
    closing: Option<Closing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    name: Box<str>,
    detail: Detail,
}

struct Watched {
    feed: Arc<Feed>,
    count: usize,
    /// Whether the name stood for something at the last look.
    known: bool,
    /// Until then nothing is said while nothing is known.
    patience: Instant,
}

/// What a look at a name finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// None yet that counts, and it is waited for.
    NoVerdict,
    Status(Status),
}

impl Found {
    fn serving(self) -> Option<ServingStatus> {
        match self {
            Self::Nothing => Some(ServingStatus::ServiceUnknown),
            Self::NoVerdict => None,
            Self::Status(status) => Some(status.into()),
        }
    }
}

/// When streams end, if the app is still draining then.
#[derive(Clone, Copy)]
enum Closing {
    Lingers(Instant),
    /// The caller said how long it drains.
    Drains(Instant),
}

impl Closing {
    fn at(self) -> Instant {
        match self {
            Self::Lingers(at) | Self::Drains(at) => at,
        }
    }
}

impl Watchers {
    /// Draining has been set or taken back.
    pub(crate) fn drains(&self, draining: bool) {
        let mut state = self.state();
        if draining {
            let at = Instant::now() + LINGER;
            state.closing.get_or_insert(Closing::Lingers(at));
        } else {
            state.closing = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    /// Open watches end after `delay`. Of several delays the first to be over counts: that
    /// is when the server is told to stop.
    pub(crate) fn end_watches_in(&self, delay: Duration) {
        let at = Instant::now() + delay.min(LONGEST);
        let mut state = self.watchers().state();
        state.closing = Some(match state.closing {
            Some(Closing::Drains(earlier)) => Closing::Drains(earlier.min(at)),
            _ => Closing::Drains(at),
        });
        drop(state);
        self.nudge();
    }

    /// Watches `name` on behalf of somebody who sees `detail`.
    pub(super) fn watch(&self, name: &str, detail: Detail) -> Result<Place, Refusal> {
        let now = Instant::now();
        let mut state = self.watchers().state();
        if state.count >= MAX_WATCHERS {
            return Err(Refusal::TOO_MANY_WATCHERS);
        }
        let key = Key {
            name: name.into(),
            detail,
        };
        let late = state.is_over(self, now);
        let patience = now + FIRST_VERDICT;
        let watched = state.feeds.entry(key.clone()).or_insert_with(|| {
            let (found, _) = self.look_at(&key, now, patience);
            let news = News {
                serving: found.serving(),
                ends: late,
            };
            Watched {
                feed: Arc::new(Feed::new(news)),
                count: 0,
                known: found != Found::Nothing,
                patience,
            }
        });
        watched.count += 1;
        let feed = watched.feed.clone();
        state.count += 1;
        // Finished without being told to: the runtime that it was on is gone.
        if state.driver.as_ref().is_none_or(AbortHandle::is_finished) {
            state.driver = Some(tokio::spawn(drive(self.clone())).abort_handle());
        }
        drop(state);
        // The driver plans anew: what this feed waits for may come first.
        self.nudge();
        Ok(Place {
            health: self.clone(),
            key,
            feed,
            late,
        })
    }

    /// The status of a name, and until when it holds. Starts the runs that are due.
    fn look_at(&self, key: &Key, now: Instant, patience: Instant) -> (Found, Instant) {
        let Some(subject) = names::resolve(self, &key.name, key.detail) else {
            return (Found::Nothing, now + LONGEST);
        };
        let glance = self.glance(subject, now, true);
        let again = if glance.holds(now) {
            glance.holds_until
        } else {
            now + RECHECK
        };
        if glance.status == Status::Unknown && now < patience {
            (Found::NoVerdict, again.min(patience))
        } else {
            (Found::Status(glance.status), again)
        }
    }
}

impl State {
    /// Whether streams are to end.
    fn is_over(&self, health: &Health, now: Instant) -> bool {
        health.is_draining() && self.closing.is_some_and(|closing| closing.at() <= now)
    }

    /// Looks at everything that is watched; returns when to look again.
    fn look(&mut self, health: &Health, now: Instant) -> Instant {
        let ends = self.is_over(health, now);
        let members = health.cells();
        let same = |before: &Arc<Vec<_>>| Arc::ptr_eq(before, &members);
        let moved = !self.members.as_ref().is_some_and(same);
        self.members = Some(members);
        let mut next = now + LONGEST;
        for (key, watched) in &mut self.feeds {
            let mut serving = watched.feed.news().serving;
            if watched.known || moved {
                let (found, again) = health.look_at(key, now, watched.patience);
                watched.known = found != Found::Nothing;
                next = next.min(again);
                // Nothing that was sent is taken back.
                serving = found.serving().or(serving);
            }
            watched.feed.tell(News { serving, ends });
        }
        match self.closing {
            Some(closing) if closing.at() > now => next.min(closing.at()),
            _ => next,
        }
    }
}

async fn drive(health: Health) {
    loop {
        // Before the look: what moves meanwhile must not be missed.
        let moved = health.epoch_moved();
        let now = Instant::now();
        let next = health.watchers().state().look(&health, now);
        // Whichever comes first.
        let _ = timeout_at(next, moved).await;
        sleep_until(now + PAUSE).await;
    }
}

/// A watcher's place. Dropping it gives it up; the last one takes the driver with it.
pub(super) struct Place {
    health: Health,
    key: Key,
    pub(super) feed: Arc<Feed>,
    /// It came when streams were to end already.
    pub(super) late: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.health.watchers().state();
        state.count -= 1;
        if let Some(watched) = state.feeds.get_mut(&self.key) {
            watched.count -= 1;
            if watched.count == 0 {
                state.feeds.remove(&self.key);
            }
        }
        if state.count == 0 {
            state.members = None;
            if let Some(driver) = state.driver.take() {
                driver.abort();
            }
        }
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.state().count;
        f.debug_struct("Watchers").field("count", &count).finish()
    }
}
