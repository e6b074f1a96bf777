//! What the watchers of one name see: one status, the newest, in one byte.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::{Notify, futures::OwnedNotified};

use super::message::ServingStatus;

/// Set beside a status: streams end once they have sent it.
const ENDS: u8 = 0x80;

/// The status of one name. Whoever is slow misses what was between, never the newest.
#[derive(Debug)]
pub(super) struct Feed {
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
    pub(super) fn new(news: News) -> Self {
        Self {
            state: AtomicU8::new(news.packed()),
            changed: Arc::default(),
        }
    }

    pub(super) fn news(&self) -> News {
        News::unpacked(self.state.load(Ordering::Acquire))
    }

    /// Wakes each watcher once, and none when nothing is new.
    pub(super) fn tell(&self, news: News) {
        let packed = news.packed();
        if self.state.swap(packed, Ordering::AcqRel) != packed {
            self.changed.notify_waiters();
        }
    }

    /// Resolves at the first change after this call.
    pub(super) fn changed(&self) -> OwnedNotified {
        self.changed.clone().notified_owned()
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
    use super::{Feed, News, ServingStatus};

    #[test]
    fn a_feed_says_what_it_was_told() {
        let statuses = ServingStatus::ALL.map(Some).into_iter().chain([None]);
        for serving in statuses {
            for ends in [false, true] {
                let news = News { serving, ends };
                assert_eq!(Feed::new(news).news(), news);
            }
        }
    }
}
