//! What listeners read, bounded: pure.

use std::collections::VecDeque;

use super::Transition;

/// Past this many, transitions that a later one of the same dependency follows are dropped, oldest first.
const KEPT: usize = 256;

/// Transitions in their order, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Feed {
    count: u64,
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    transition: Transition,
    /// A later one of the same dependency follows: this one may be lost.
    followed: bool,
}

impl Feed {
    /// The number of the last transition; 0 before the first.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn push(&mut self, transition: Transition) {
        for kept in &mut self.kept {
            kept.followed |= kept.transition.name == transition.name;
        }
        self.count += 1;
        self.kept.push_back(Kept {
            number: self.count,
            transition,
            followed: false,
        });
        // Without one to drop, each is the last of its dependency: their number is the bound.
        if self.kept.len() > KEPT
            && let Some(oldest) = self.kept.iter().position(|kept| kept.followed)
        {
            self.kept.remove(oldest);
        }
    }

    /// Drops what is kept of the dependency called `name`.
    pub(super) fn forget(&mut self, name: &str) {
        self.kept.retain(|kept| &*kept.transition.name != name);
    }

    /// The first one past `number` that is still there, with its own number.
    pub(super) fn after(&self, number: u64) -> Option<(u64, &Transition)> {
        let at = self.kept.partition_point(|kept| kept.number <= number);
        let next = self.kept.get(at)?;
        Some((next.number, &next.transition))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Feed, KEPT, Transition};
    use crate::report::Status;

    fn turn(name: &str, to: Status) -> Transition {
        Transition {
            name: name.into(),
            kind: None,
            required: true,
            from: Status::Unknown,
            to,
            reason: None,
            message: None,
            previous_for: Duration::ZERO,
            at: Instant::now(),
        }
    }

    /// What a listener hears who starts past `number`.
    fn heard(feed: &Feed, mut number: u64) -> Vec<(String, Status)> {
        let mut all = Vec::new();
        while let Some((next, transition)) = feed.after(number) {
            assert!(next > number);
            number = next;
            all.push((transition.name.to_string(), transition.to));
        }
        all
    }

    #[test]
    fn who_keeps_up_hears_all_in_order() {
        let mut feed = Feed::default();
        let mut number = 0;
        for turns in 0..10 * KEPT {
            let to = if turns % 2 == 0 {
                Status::Down
            } else {
                Status::Up
            };
            feed.push(turn(if turns % 3 == 0 { "a" } else { "b" }, to));
            let (next, transition) = feed.after(number).expect("the one just pushed");
            assert_eq!((next, transition.to), (number + 1, to));
            number = next;
        }
        assert!(feed.after(number).is_none());
    }

    #[test]
    fn who_is_slow_loses_intermediate_ones_and_never_the_last() {
        let mut feed = Feed::default();
        feed.push(turn("rare", Status::Down));
        for turns in 0..10 * KEPT {
            let last = turns + 1 == 10 * KEPT;
            feed.push(turn("often", if last { Status::Up } else { Status::Down }));
        }
        let all = heard(&feed, 0);
        assert_eq!(all.len(), KEPT);
        assert_eq!(all[0], ("rare".to_owned(), Status::Down));
        assert_eq!(all[KEPT - 1], ("often".to_owned(), Status::Up));
    }

    #[test]
    fn more_dependencies_than_that_lose_no_last_one_either() {
        let mut feed = Feed::default();
        for to in [Status::Down, Status::Up] {
            for number in 0..3 * KEPT {
                feed.push(turn(&number.to_string(), to));
            }
        }
        let all = heard(&feed, 0);
        assert_eq!(all.len(), 3 * KEPT);
        assert!(all.iter().all(|(_, to)| *to == Status::Up));
    }

    #[test]
    fn a_removed_one_is_forgotten() {
        let mut feed = Feed::default();
        feed.push(turn("a", Status::Down));
        feed.push(turn("b", Status::Down));
        feed.forget("a");
        assert_eq!(heard(&feed, 0), [("b".to_owned(), Status::Down)]);
        feed.push(turn("a", Status::Up));
        assert_eq!(heard(&feed, 2), [("a".to_owned(), Status::Up)]);
    }
}
