//! Who watches, and the one task that looks on behalf of all of them.
//!
//! 1. Watchers of the same name share a feed; the driver fills all feeds of a handle.
//! 2. The driver looks when the epoch moves and when a verdict runs out, which starts
//!    the next run: checks run at their period while anybody watches.
//! 3. It ends with the last watcher, and is started again by the next. It runs where the watcher
//!    runs that started it: with that runtime it ends for watchers on others, too, until one more comes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    feed::{Feed, Key},
    status::Refusal,
};
use crate::{
    bounds::MAX_DURATION,
    health::{DependencyState, Health},
    render::Detail,
};

/// How many may watch one handle at a time.
pub(super) const MAX_WATCHERS: usize = 10_000;

/// Between two looks, at least: many verdicts at once are one look.
const PAUSE: Duration = Duration::from_millis(2);

/// All watchers of a handle.
#[derive(Default)]
pub(super) struct Watchers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    feeds: HashMap<Key, Watched>,
    count: usize,
    driver: Option<AbortHandle>,
    /// The members at the last look: only other ones can make an unknown name known.
    members: Option<Arc<Vec<Arc<DependencyState>>>>,
}

struct Watched {
    feed: Arc<Feed>,
    count: usize,
}

impl Watchers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    /// Watches `name` on behalf of somebody who sees `detail`.
    pub(super) fn watch(&self, name: &str, detail: Detail) -> Result<Place, Refusal> {
        let now = Instant::now();
        let key = Key {
            name: name.into(),
            detail,
        };
        let watchers = self.watchers();
        let feed = watchers.state().feed(&key);
        let feed = feed.unwrap_or_else(|| {
            let feed = Feed::new(key.clone(), now);
            feed.look(self, now, is_over(self, now));
            // What moves before it is among the others is seen then.
            feed.look_again();
            Arc::new(feed)
        });
        let mut state = watchers.state();
        if state.count >= MAX_WATCHERS {
            return Err(Refusal::TOO_MANY_WATCHERS);
        }
        // Another may have been first.
        let watched = state
            .feeds
            .entry(key.clone())
            .or_insert(Watched { feed, count: 0 });
        watched.count += 1;
        let feed = watched.feed.clone();
        state.count += 1;
        let late = is_over(self, now);
        // Finished without being told to: the runtime that it was on is gone.
        if state.driver.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            state.driver = Some(runtime.spawn(drive(self.clone())).abort_handle());
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
}

impl State {
    fn feed(&self, key: &Key) -> Option<Arc<Feed>> {
        self.feeds.get(key).map(|watched| watched.feed.clone())
    }

    /// What is to be looked at.
    fn round(&mut self, health: &Health, now: Instant) -> Round {
        let ends = is_over(health, now);
        let members = health.cells();
        let same = |before: &Arc<Vec<_>>| Arc::ptr_eq(before, &members);
        let moved = !self.members.as_ref().is_some_and(same);
        self.members = Some(members);
        let feeds = self.feeds.values().map(|watched| &watched.feed);
        let due = |feed: &&Arc<Feed>| !feed.is_unknown() || moved || feed.news().ends != ends;
        Round {
            feeds: feeds.filter(due).cloned().collect(),
            ends,
            closes_at: health.streams_close_at().filter(|at| *at > now),
        }
    }
}

/// Whether streams are to end.
fn is_over(health: &Health, now: Instant) -> bool {
    health.is_draining() && health.streams_close_at().is_some_and(|at| at <= now)
}

/// One look at everything that may have changed.
struct Round {
    feeds: Vec<Arc<Feed>>,
    ends: bool,
    closes_at: Option<Instant>,
}

async fn drive(health: Health) {
    loop {
        // Before the look: what moves meanwhile must not be missed.
        let moved = health.epoch_moved();
        let now = Instant::now();
        let round = health.watchers().state().round(&health, now);
        let mut next = round.closes_at.unwrap_or(now + MAX_DURATION);
        for feed in round.feeds {
            next = next.min(feed.look(&health, now, round.ends));
        }
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
        if state.count > 0 {
            return;
        }
        state.members = None;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.abort();
        }
    }
}
