//! Whether a result is about the check or about the machine: one with deadlines of a quarter of a
//! second, found while threads wait for a processor, is about the machine.

use std::collections::HashMap;
use std::ffi::OsString;
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
pub struct Waits(HashMap<OsString, u64>);

impl Waits {
    pub fn now() -> Self {
        let mut waits = HashMap::new();
        let mut processes = vec![process::id().to_string()];
        while let Some(process) = processes.pop() {
            let threads = fs::read_dir(format!("/proc/{process}/task"));
            for thread in threads.into_iter().flatten().flatten() {
                let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
                // Nanoseconds on a processor, nanoseconds of waiting for one, turns.
                if let Some(Ok(waited)) = read("schedstat").split(' ').nth(1).map(str::parse) {
                    waits.insert(thread.file_name(), waited);
                }
                processes.extend(read("children").split_whitespace().map(str::to_owned));
            }
        }
        Self(waits)
    }

    /// How long all of them have waited since. A thread that has ended meanwhile takes its time along.
    pub fn until_now(&self) -> Duration {
        let before = |id| self.0.get(id).copied().unwrap_or_default();
        let now = Self::now().0;
        let since = now
            .iter()
            .map(|(id, nanos)| nanos.saturating_sub(before(id)));
        Duration::from_nanos(since.sum())
    }
}
