//! Report, transitions and metrics show the same status, whatever changed it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::time::{sleep, timeout};
use tower_health::{
    CheckResult, Dependency, Failure, Health, Outcome, Reason, Status, report::ReportEntry,
};

use super::fixtures::{MS, SECOND, becomes, published, undriven, up};
use crate::support::{MAXIMUM_WAIT, wait_until};

/// Each way in which a run ends.
async fn run(step: usize) -> CheckResult {
    match step {
        0 => Ok(Outcome::up()),
        1 => Ok(Outcome::degraded(Reason::Saturated)),
        2 => Err(Failure::new(Reason::Refused)),
        3 => panic!("a bug in the check"),
        4 => {
            sleep(2 * SECOND).await;
            Ok(Outcome::up())
        }
        _ => {
            sleep(200 * MS).await;
            Ok(Outcome::up())
        }
    }
}

/// Fails unless the entry is in one of the documented states.
fn assert_documented(entry: &ReportEntry) {
    let has_reason = entry.reason.is_some();
    assert_eq!(has_reason, entry.status != Status::Up, "{entry:?}");
    let is_pending = matches!(entry.reason, Some(Reason::Pending | Reason::Stale));
    assert!(entry.status != Status::Unknown || is_pending, "{entry:?}");
}

#[tokio::test(start_paused = true)]
async fn every_result_is_shown_alike_by_report_and_transitions() {
    for threshold in 1..=3 {
        let step = Arc::new(AtomicUsize::new(0));
        let next = step.clone();
        let check = move || run(next.load(Ordering::SeqCst));
        let dependency = Dependency::new("a", check)
            .slow_after(100 * MS)
            .failure_threshold(threshold)
            .success_threshold(threshold);
        let health = Health::builder().add(dependency).build();
        let mut transitions = health.subscribe();
        let mut last = Status::Unknown;
        // Every result after every other one, as often as the largest threshold.
        for next in [
            0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 1, 2, 1, 3, 1, 4, 1, 5, 2, 3, 4, 5, 4, 3, 5, 1,
        ] {
            step.store(next, Ordering::SeqCst);
            for _ in 0..3 {
                sleep(SECOND).await;
                let report = health.report().await;
                let entry = &report.entries[0];
                assert_documented(entry);
                while let Some(transition) = published(&mut transitions).await {
                    assert_eq!(transition.from, last, "step {next}");
                    last = transition.to;
                }
                assert_eq!(last, entry.status, "step {next}, threshold {threshold}");
                assert_eq!(health.snapshot().status, report.status);
            }
        }
    }
}

/// A recorder, and the status of `a` that it received.
#[cfg(feature = "metrics")]
fn status_gauge() -> (impl metrics::Recorder, impl Fn() -> Option<String>) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let status = move || {
        let text = handle.render();
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("health_check_status{"))?;
        line.rsplit(' ').next().map(ToOwned::to_owned)
    };
    (recorder, status)
}

/// A run that blocks its thread cannot be cancelled.
#[test]
fn a_stuck_run_is_down_after_the_threshold_and_runs_alone() {
    for threshold in [1, 3] {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            if counter.fetch_add(1, Ordering::SeqCst) == 1 {
                // Ends with the sender.
                let _ = gate.lock().expect("no panic").recv();
            }
            up()
        };
        let dependency = Dependency::new("a", check).timeout(50 * MS);
        let health = Health::builder()
            .add(dependency.cache_for(50 * MS).failure_threshold(threshold))
            .build();
        // A runtime with one thread: its timers stop, too.
        let (blocked, counter, end) = (health.clone(), runs.clone(), mpsc::channel::<()>());
        let driver = thread::spawn(move || {
            undriven().block_on(async {
                while counter.load(Ordering::SeqCst) < 2 {
                    let _ = blocked.report().await;
                    sleep(10 * MS).await;
                }
                let _ = end.1.recv();
            });
        });
        while runs.load(Ordering::SeqCst) < 2 {
            thread::sleep(MS);
        }
        #[cfg(feature = "metrics")]
        let (recorder, status) = status_gauge();
        #[cfg(feature = "metrics")]
        let _guard = metrics::set_default_local_recorder(&recorder);
        // On this thread, which the recorder is set for.
        undriven().block_on(async {
            let mut transitions = health.subscribe();
            let (mut last, mut entry) = (Status::Up, health.snapshot().entries.remove(0));
            wait_until("the run is stuck", MAXIMUM_WAIT, async || {
                entry = health.report().await.entries.remove(0);
                assert_documented(&entry);
                let is_early = entry.consecutive_failures < threshold;
                assert!(entry.status != Status::Down || !is_early, "{entry:?}");
                while let Some(transition) = published(&mut transitions).await {
                    last = transition.to;
                }
                assert_eq!(entry.status == Status::Down, last == Status::Down);
                entry.reason == Some(Reason::Stuck)
            })
            .await;
            assert!(entry.pending_for >= Some(150 * MS), "{entry:?}");
            assert_eq!(runs.load(Ordering::SeqCst), 2, "no second run is started");
            #[cfg(feature = "metrics")]
            assert_eq!(status().as_deref(), Some("0"));
            drop((release, end.0));
            becomes(&health, Status::Up).await;
            wait_until("the recovery is published", MAXIMUM_WAIT, async || {
                let next = published(&mut transitions).await;
                next.is_some_and(|transition| transition.to == Status::Up)
            })
            .await;
        });
        driver.join().expect("no panic");
    }
}

/// The runtime of a background refresh is gone.
#[test]
fn a_stale_result_is_published_and_so_is_its_recovery() {
    let health = Health::builder()
        .add(Dependency::new("a", up).timeout(50 * MS))
        .refresh_every(50 * MS)
        .build();
    undriven().block_on(becomes(&health, Status::Up));
    let mut transitions = health.subscribe();
    undriven().block_on(wait_until("it is stale", MAXIMUM_WAIT, async || {
        health.snapshot().entries[0].reason == Some(Reason::Stale)
    }));
    let entry = health.snapshot().entries.remove(0);
    assert_documented(&entry);
    assert_eq!(entry.status, Status::Down);
    let next = async |transitions: &mut tower_health::health::Transitions| {
        let next = timeout(MAXIMUM_WAIT, transitions.recv()).await;
        next.expect("in time").expect("a handle lives")
    };
    undriven().block_on(async {
        let stale = next(&mut transitions).await;
        let found = (stale.from, stale.to, stale.reason);
        assert_eq!(found, (Status::Up, Status::Down, Some(Reason::Stale)));
        assert_eq!(next(&mut transitions).await.to, Status::Up);
    });
}
