//! What the watchers of one name see: one status, the newest, in one byte.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::{Duration, Instant},
};

use super::{message::ServingStatus, names};
use crate::{access::Detail, bounds::MAX_DURATION, health::Health, report::Status};

/// How long the first message waits for a verdict under way: one that is up must not begin
/// with `NOT_SERVING`, which makes clients fail what they would have queued.
const FIRST_VERDICT: Duration = Duration::from_millis(50);

/// How soon to look again while a run is under way: its end is told, but not that it is overdue.
const RECHECK: Duration = Duration::from_millis(100);

/// Set beside a status: streams end once they have sent it.
const ENDS: u8 = 0x80;

/// A name, as somebody sees it who sees this much.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    pub(super) detail: Detail,
}

/// The status of one name. Whoever is slow misses what was between, never the newest.
#[derive(Debug)]
pub(super) struct Feed {
    key: Key,
    /// Until then nothing is said while nothing is known.
    patience: Instant,
    /// Whether the name stood for something at the last look.
    known: AtomicBool,
    /// A [`ServingStatus`], or 0 while it is waited for; perhaps with [`ENDS`].
    state: AtomicU8,
    changed: Arc<Notify>,
}

/// What a feed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// `None` while no verdict counts and the first message waits for one.
    pub(super) serving: Option<ServingStatus>,
    pub(super) ends: bool,
}

impl Feed {
    pub(super) fn new(key: Key, now: Instant) -> Self {
        Self {
            key,
            patience: now + FIRST_VERDICT,
            known: AtomicBool::new(true),
            state: AtomicU8::new(0),
            changed: Arc::default(),
        }
    }

    pub(super) fn news(&self) -> News {
        News::unpacked(self.state.load(Ordering::Acquire))
    }

    /// Whether only other members can make something of the name.
    pub(super) fn is_unknown(&self) -> bool {
        !self.known.load(Ordering::Relaxed)
    }

    /// Makes it known for now, so that the next look does not leave it out.
    pub(super) fn look_again(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Resolves at the first change after this call.
    pub(super) fn changed(&self) -> OwnedNotified {
        self.changed.clone().notified_owned()
    }

    /// Looks, starts the runs that are due, and tells the watchers. Returns when to look again.
    // Under no lock: to wake somebody may run anything, as the end of a watch when its runtime has
    // shut down.
    pub(super) fn look(&self, health: &Health, now: Instant, ends: bool) -> Instant {
        let subject = names::resolve(health, &self.key.name, self.key.detail);
        self.known.store(subject.is_some(), Ordering::Relaxed);
        let Some(subject) = subject else {
            self.tell(Some(ServingStatus::ServiceUnknown), ends);
            return now + MAX_DURATION;
        };
        let glance = health.glance(subject, now, true);
        let again = if glance.holds(now) {
            glance.holds_until
        } else {
            now + RECHECK
        };
        if glance.status == Status::Unknown && now < self.patience {
            self.tell(None, ends);
            again.min(self.patience)
        } else {
            self.tell(Some(glance.status.into()), ends);
            again
        }
    }

    /// Wakes each watcher once, and none when nothing is new.
    fn tell(&self, serving: Option<ServingStatus>, ends: bool) {
        // Nothing that was sent is taken back.
        let serving = serving.or(self.news().serving);
        let packed = News { serving, ends }.packed();
        if self.state.swap(packed, Ordering::AcqRel) != packed {
            self.changed.notify_waiters();
        }
    }
}

impl News {
    fn packed(self) -> u8 {
        let ends = if self.ends { ENDS } else { 0 };
        self.serving.map_or(0, |serving| serving as u8) | ends
    }

    fn unpacked(state: u8) -> Self {
        Self {
            serving: ServingStatus::ALL
                .into_iter()
                .find(|serving| *serving as u8 == state & !ENDS),
            ends: state & ENDS != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{News, ServingStatus};

    #[test]
    fn news_come_out_as_they_went_in() {
        let statuses = ServingStatus::ALL.map(Some).into_iter().chain([None]);
        for serving in statuses {
            for ends in [false, true] {
                let news = News { serving, ends };
                assert_eq!(News::unpacked(news.packed()), news);
            }
        }
    }
}
