//! Whether a result is about the check or about the machine: one with deadlines of a quarter of a
//! second, found while threads wait for a processor, is about the machine.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::process;
use std::time::Duration;

/// The time that all threads together may wait for a processor during one result.
const LATE: Duration = Duration::from_millis(50);

const TRIES: u32 = 5;

/// The first result that `is_right`, or that was found while the machine was on time, or the fifth.
pub async fn judged_on_time<T: Debug>(
    mut judge: impl AsyncFnMut() -> T,
    is_right: impl Fn(&T) -> bool,
) -> T {
    for _ in 1..TRIES {
        let before = Waits::now();
        let found = judge().await;
        if is_right(&found) || before.until_now() < LATE {
            return found;
        }
        println!("{found:?} while threads waited for a processor: judged again");
    }
    judge().await
}

/// How long each thread of this process and each server that it started has waited for a processor;
/// empty where the system does not report it.
#[derive(Debug)]
pub struct Waits(HashMap<u32, u64>);

impl Waits {
    pub fn now() -> Self {
        let mut waits = HashMap::new();
        add(process::id(), &mut waits);
        Self(waits)
    }

    /// How long all of them have waited since. A thread that has ended meanwhile takes its time along.
    pub fn until_now(&self) -> Duration {
        let now = Self::now().0.into_iter();
        let since = now.map(|(id, nanos)| nanos - self.0.get(&id).copied().unwrap_or(0).min(nanos));
        Duration::from_nanos(since.sum())
    }
}

/// Adds the threads of a process and, below them, its children.
fn add(process: u32, waits: &mut HashMap<u32, u64>) {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return;
    };
    for thread in threads.flatten() {
        let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let number = |text: &str| text.parse().ok();
        // Nanoseconds on a processor, nanoseconds of waiting for one, turns.
        let waited = read("schedstat")
            .split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok());
        if let (Some(id), Some(waited)) = (thread.file_name().to_str().and_then(number), waited) {
            waits.insert(id, waited);
        }
        read("children")
            .split_whitespace()
            .filter_map(number)
            .for_each(|child| add(child, waits));
    }
}
