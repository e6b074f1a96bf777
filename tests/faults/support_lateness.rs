//! A machine that is late is noticed, and no other.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{MAXIMUM_WAIT, judged, time_waited};
use tokio::time::Instant;

#[tokio::test]
async fn a_wrong_verdict_counts_unless_the_machine_was_late() {
    let (on_time, late) = (Duration::ZERO, Duration::from_millis(60));
    // How long threads waited during each verdict, the first that is right, and how many are passed.
    for (waits, right, passed) in [
        ([on_time; 5], 9, 1),
        ([late; 5], 1, 1),
        ([late; 5], 3, 3),
        ([late, late, on_time, late, late], 9, 3),
        ([late; 5], 9, 5),
    ] {
        let mut verdicts = 0;
        let (mut waited, mut looks) = (Duration::ZERO, 0);
        let clock = || {
            // Before a verdict and after it.
            if looks % 2 == 1 {
                waited += waits[looks / 2];
            }
            looks += 1;
            waited
        };
        let judge = async || {
            verdicts += 1;
            verdicts
        };
        judged(judge, |verdict| *verdict >= right, clock).await;
        assert_eq!(verdicts, passed, "{waits:?} {right}");
    }
}

#[test]
fn a_machine_with_too_much_to_do_is_late() {
    if !Path::new("/proc/self/schedstat").exists() {
        return;
    }
    let done = AtomicBool::new(false);
    let before = time_waited();
    thread::scope(|scope| {
        for _ in 0..4 * thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let enough = before + Duration::from_millis(50);
        let end = Instant::now() + MAXIMUM_WAIT;
        while time_waited() < enough && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        let waited = time_waited();
        done.store(true, Ordering::Relaxed);
        assert!(waited >= enough, "{waited:?}");
    });
}
