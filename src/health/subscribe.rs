use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Health,
    handle::SharedState,
    transition::{LatestEvents, Transition, TransitionEvent, lock},
};

impl Health {
    /// Subscribes to the transitions of all dependencies, including those that are added later.
    ///
    /// While a subscriber exists, each dependency is checked as soon as its last result has expired, or with the
    /// period of [`refresh_every`](crate::HealthBuilder::refresh_every). The checks run on the Tokio runtime of
    /// this call, or else of [`recv`](Transitions::recv). A subscriber delays no run and no other subscriber.
    #[doc(alias = "webhook")]
    pub fn subscribe(&self) -> Transitions {
        let broadcaster = &self.context().broadcaster;
        let transitions = {
            // Under the lock, so that the number is that of the last event before the first received event.
            let latest = lock(broadcaster.latest());
            Transitions {
                receiver: broadcaster.receiver(),
                latest: broadcaster.latest().clone(),
                missed: VecDeque::new(),
                returned: latest.number,
                shared: Arc::downgrade(&self.shared),
            }
        };
        self.shared.keep_refreshing();
        transitions
    }
}

/// A subscription to transitions. Made by [`Health::subscribe`](crate::Health::subscribe).
///
/// A clone is a separate subscription. It gets the last transition of each dependency that the original has not
/// returned yet, and all later ones.
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
    receiver: Receiver<Arc<TransitionEvent>>,
    latest: Arc<Mutex<LatestEvents>>,
    /// Returned before anything that is received, oldest first.
    missed: VecDeque<Arc<TransitionEvent>>,
    /// The number of the last event that was returned.
    returned: u64,
    shared: Weak<SharedState>,
}

impl Transitions {
    /// Waits for the next transition; `None` once the last handle is dropped.
    ///
    /// Transitions from before that are returned first. A subscriber that is more than 256 transitions behind gets the last one of each dependency instead. A
    /// removed dependency has no transitions. A layer holds a handle too. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Transition> {
        if let Some(shared) = self.shared.upgrade() {
            // The runtime of the subscription may have ended.
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
            if event.number > self.returned {
                self.returned = event.number;
                if !event.is_retired() {
                    return Some(event.transition.clone());
                }
            }
        }
    }

    /// Moves to the end of the channel, with the last event of each dependency as missed.
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
            returned: self.returned,
            shared: self.shared.clone(),
        };
        clone.catch_up();
        clone
    }
}
