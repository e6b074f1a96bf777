use tokio::sync::watch;

use super::{Transition, feed::Feed};

/// Where transitions are told. It goes with the last handle, and that ends the listeners.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    feed: watch::Sender<Feed>,
}

impl Hub {
    /// A listener to what is told from now on.
    pub(crate) fn subscribe(&self) -> Transitions {
        let feed = self.feed.subscribe();
        let heard = feed.borrow().count();
        Transitions { feed, heard }
    }

    /// Tells `transition`, if it is still `true_now` once everybody else has spoken.
    pub(crate) fn tell(&self, transition: Transition, true_now: impl FnOnce() -> bool) {
        if self.feed.receiver_count() == 0 {
            return;
        }
        self.feed.send_if_modified(|feed| {
            let told = true_now();
            if told {
                feed.push(transition);
            }
            told
        });
    }

    /// Tells nobody any more what the dependency called `name` did.
    pub(crate) fn forget(&self, name: &str) {
        self.feed.send_if_modified(|feed| {
            feed.forget(name);
            false
        });
    }
}

/// A listener's place among the transitions. Made by [`Health::subscribe`](crate::Health::subscribe).
///
/// A clone goes on from the same place on its own.
///
/// ```no_run
/// # async fn listen(health: tower_health::Health) {
/// let mut transitions = health.subscribe();
/// drop(health);
/// while let Some(transition) = transitions.recv().await {
///     let (name, from, to) = (&transition.name, transition.from, transition.to);
///     println!("{name} was {from} for {:?} and is {to}", transition.previous_for);
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Transitions {
    feed: watch::Receiver<Feed>,
    heard: u64,
}

impl Transitions {
    /// The next transition; `None` once the last handle is gone and everything has been heard.
    ///
    /// Who is slow loses intermediate ones, and never the last of a dependency: past 256
    /// transitions that wait, those go first that a later one of the same dependency follows.
    /// What a removed dependency did is not told after its removal. A layer holds a handle, too.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Transition> {
        loop {
            if let Some((number, transition)) = self.feed.borrow_and_update().after(self.heard) {
                self.heard = number;
                return Some(transition.clone());
            }
            self.feed.changed().await.ok()?;
        }
    }
}
