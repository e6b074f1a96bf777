//! Whether a verdict tells of its check or of the machine: one with deadlines of a quarter of a second,
//! found while threads queue for processors, tells of the machine.

use std::fmt::Debug;
use std::fs;
use std::time::Duration;

/// For so long our threads may wait for a processor, all together, while one verdict is found.
const LATE: Duration = Duration::from_millis(50);

const TRIES: u32 = 5;

/// What `judge` finds: what `is_right`, or what it found while the machine was on time. Judged five
/// times at most.
pub async fn judged_on_time<T: Debug>(
    judge: impl AsyncFnMut() -> T,
    is_right: impl Fn(&T) -> bool,
) -> T {
    judged(judge, is_right, time_waited).await
}

/// The same where `waited` says how long our threads have waited for a processor up to now.
pub async fn judged<T: Debug>(
    mut judge: impl AsyncFnMut() -> T,
    is_right: impl Fn(&T) -> bool,
    mut waited: impl FnMut() -> Duration,
) -> T {
    for _ in 1..TRIES {
        let before = waited();
        let found = judge().await;
        let late = waited().saturating_sub(before);
        if is_right(&found) || late < LATE {
            return found;
        }
        println!("{found:?} while threads waited {late:?} for a processor: judged again");
    }
    judge().await
}

/// How long the threads of this process that live have waited for a processor; nothing where the
/// system does not say.
pub fn time_waited() -> Duration {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let waited = threads.filter_map(|thread| {
        // Nanoseconds on a processor, nanoseconds of waiting for one, turns.
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}
