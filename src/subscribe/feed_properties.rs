//! What listeners of any slowness hear, against a model that keeps everything.

use std::{collections::HashMap, time::Duration};

use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use super::{Transition, feed::Feed};
use crate::report::Status;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The dependency of this number turns.
    Turn(u16),
    /// It is removed.
    Forget(u16),
    /// A listener reads so many at most.
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Some turn all the time, most once in a while.
        400 => (0..3_u16).prop_map(Step::Turn),
        40 => (0..400_u16).prop_map(Step::Turn),
        2 => (0..400_u16).prop_map(Step::Forget),
        1 => (0..400_usize).prop_map(Step::Read),
    ]
}

/// The `number`th transition, told apart by its length.
fn transition(name: u16, number: u64) -> Transition {
    Transition {
        name: name.to_string().into(),
        kind: None,
        required: true,
        from: Status::Up,
        to: Status::Down,
        reason: None,
        message: None,
        previous_for: Duration::from_nanos(number),
        at: Instant::now(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn nobody_misses_a_last_one_or_hears_one_twice_or_late(steps in vec(step(), 1..2_000)) {
        let mut feed = Feed::default();
        let mut heard = 0;
        let mut count = 0;
        // Of each dependency that is there: its last turn.
        let mut last: HashMap<String, u64> = HashMap::new();
        // What the listener was told of each.
        let mut told: HashMap<String, u64> = HashMap::new();
        let end = [Step::Read(usize::MAX)];
        for step in steps.iter().chain(&end) {
            match *step {
                Step::Turn(name) => {
                    count += 1;
                    feed.push(transition(name, count));
                    last.insert(name.to_string(), count);
                }
                Step::Forget(name) => {
                    feed.forget(&name.to_string());
                    last.remove(&name.to_string());
                    told.remove(&name.to_string());
                }
                Step::Read(most) => {
                    for _ in 0..most {
                        let Some((number, transition)) = feed.after(heard) else { break };
                        // In order, and each once.
                        prop_assert!(number > heard);
                        prop_assert_eq!(u128::from(number), transition.previous_for.as_nanos());
                        prop_assert!(last.contains_key(&*transition.name), "it is gone");
                        told.insert(transition.name.to_string(), number);
                        heard = number;
                    }
                }
            }
        }
        prop_assert_eq!(told, last);
    }
}
