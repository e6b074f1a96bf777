//! Report, transitions and metrics tell the same status, whatever changed it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};
use tower_health::{
    CheckResult, Dependency, Failure, Health, Outcome, Reason, Status,
    health::{Transition, Transitions},
    report::ReportEntry,
};

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(30);

async fn published(transitions: &mut Transitions) -> Vec<Transition> {
    let mut all = Vec::new();
    while let Ok(Some(next)) = timeout(Duration::ZERO, transitions.recv()).await {
        all.push(next);
    }
    all
}

/// Each way in which a run ends, in turn.
fn scripted(step: &Arc<AtomicU8>) -> impl tower_health::Check + use<> {
    let step = step.clone();
    move || {
        let step = step.load(Ordering::SeqCst);
        async move {
            match step {
                0 => Ok(Outcome::up()),
                1 => Ok(Outcome::degraded(Reason::Saturated)),
                2 => Err(Failure::new(Reason::Refused)),
                3 => panic!("a bug in the check"),
                4 => {
                    sleep(2_000 * MS).await;
                    Ok(Outcome::up())
                }
                _ => {
                    sleep(200 * MS).await;
                    Ok(Outcome::up())
                }
            }
        }
    }
}

/// The states that are documented for an entry.
fn assert_documented(entry: &ReportEntry) {
    let has_reason = entry.reason.is_some();
    assert_eq!(has_reason, entry.status != Status::Up, "{entry:?}");
    if entry.status == Status::Unknown {
        assert!(
            matches!(entry.reason, Some(Reason::Pending | Reason::Stale)),
            "{entry:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_result_is_reported_alike() {
    for threshold in 1..=3 {
        let step = Arc::new(AtomicU8::new(0));
        let health = Health::builder()
            .add(
                Dependency::new("a", scripted(&step))
                    .slow_after(100 * MS)
                    .failure_threshold(threshold)
                    .success_threshold(threshold),
            )
            .build();
        let mut transitions = health.subscribe();
        let mut reported = Status::Unknown;
        // Every result after every other one, as often as a threshold may ask.
        for next in [
            0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 1, 2, 1, 3, 1, 4, 1, 5, 2, 3, 4, 5, 4, 3, 5, 1,
        ] {
            step.store(next, Ordering::SeqCst);
            for _ in 0..3 {
                sleep(1_000 * MS).await;
                let report = health.report().await;
                let entry = &report.entries[0];
                assert_documented(entry);
                for transition in published(&mut transitions).await {
                    assert_eq!(transition.from, reported, "step {next}");
                    reported = transition.to;
                    if reported == entry.status {
                        assert_eq!(transition.required, entry.required);
                    }
                }
                assert_eq!(reported, entry.status, "step {next}, threshold {threshold}");
                assert_eq!(health.snapshot().status, report.status);
            }
        }
    }
}

/// A run that blocks its thread: told by transitions too, and counted by the thresholds.
#[test]
fn a_stuck_run_is_reported_alike_and_follows_the_threshold() {
    for threshold in [1, 3] {
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let step = Arc::new(AtomicU8::new(0));
        let blocks = step.clone();
        let check = move || {
            if blocks.load(Ordering::SeqCst) == 1 {
                // Ends with the sender; nothing can cancel it.
                let _ = gate.lock().expect("no panic").recv();
            }
            std::future::ready(CheckResult::Ok(Outcome::up()))
        };
        let health = Health::builder()
            .add(
                Dependency::new("blocking", check)
                    .timeout(50 * MS)
                    .cache_for(50 * MS)
                    .failure_threshold(threshold),
            )
            .build();
        // A runtime with one thread: its own timers stand still, too.
        let (blocked, end) = (health.clone(), mpsc::channel::<()>());
        let driver = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                assert_eq!(blocked.report().await.status, Status::Up);
                step.store(1, Ordering::SeqCst);
                sleep(60 * MS).await;
                let _ = blocked.report().await;
                let _ = end.1.recv();
            });
        });
        let runtime = Builder::new_multi_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            while health.snapshot().entries[0].age.is_none() {
                sleep(MS).await;
            }
            let mut transitions = health.subscribe();
            let mut reported = Status::Up;
            let mut statuses = Vec::new();
            let stuck = async {
                loop {
                    let report = health.report().await;
                    let entry = report.entries[0].clone();
                    assert_documented(&entry);
                    for transition in published(&mut transitions).await {
                        reported = transition.to;
                    }
                    statuses.push((entry.status, entry.consecutive_failures));
                    assert_eq!(entry.status == Status::Down, reported == Status::Down);
                    if entry.reason == Some(Reason::Stuck) {
                        return entry;
                    }
                    sleep(10 * MS).await;
                }
            };
            let entry = timeout(LIMIT, stuck).await.expect("it is told");
            assert!(entry.pending_for >= Some(150 * MS), "{entry:?}");
            assert!(entry.consecutive_failures >= threshold);
            let early = |(status, failures): &(Status, u32)| {
                *status == Status::Down && *failures < threshold
            };
            assert!(!statuses.iter().any(early), "{statuses:?}");
            drop(release);
            drop(end.0);
            let recovered = async {
                while reported != Status::Up || health.report().await.status != Status::Up {
                    if let Some(transition) = published(&mut transitions).await.pop() {
                        reported = transition.to;
                    }
                    sleep(10 * MS).await;
                }
            };
            timeout(LIMIT, recovered).await.expect("it recovers");
        });
        driver.join().expect("no panic");
    }
}

/// A background refresh whose runtime is gone.
#[test]
fn a_stale_result_is_reported_by_transitions_too() {
    let runtime = || {
        let builder = Builder::new_current_thread().enable_all().build();
        builder.expect("a runtime")
    };
    let health = Health::builder()
        .add(Dependency::new("a", async || Ok(Outcome::up())).timeout(50 * MS))
        .refresh_every(50 * MS)
        .build();
    runtime().block_on(async {
        while health.report().await.status != Status::Up {
            sleep(5 * MS).await;
        }
    });
    // No runtime drives it from here on.
    let mut transitions = health.subscribe();
    let started = std::time::SystemTime::now();
    while health.snapshot().entries[0].reason != Some(Reason::Stale) {
        assert!(started.elapsed().unwrap_or_default() < LIMIT);
        thread::sleep(5 * MS);
    }
    let entry = health.snapshot().entries.remove(0);
    assert_documented(&entry);
    assert_eq!(entry.status, Status::Down);
    let stale = runtime().block_on(transitions.recv()).expect("a handle");
    assert_eq!(
        (stale.from, stale.to, stale.reason),
        (Status::Up, Status::Down, Some(Reason::Stale))
    );
    // And back, once a caller brings a runtime.
    runtime().block_on(async {
        let back = timeout(LIMIT, transitions.recv()).await;
        assert_eq!(back.expect("in time").map(|back| back.to), Some(Status::Up));
    });
}

#[cfg(feature = "metrics")]
#[test]
fn a_stuck_run_shows_in_the_metrics() {
    use metrics_exporter_prometheus::PrometheusBuilder;

    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let begun = Arc::new(AtomicU8::new(0));
    let inside = begun.clone();
    let check = move || {
        inside.store(1, Ordering::SeqCst);
        let _ = gate.lock().expect("no panic").recv();
        std::future::ready(CheckResult::Ok(Outcome::up()))
    };
    let health = Health::builder()
        .add(
            Dependency::new("blocking", check)
                .timeout(50 * MS)
                .cache_for(50 * MS),
        )
        .build();
    let blocked = health.clone();
    let driver = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime")
            .block_on(async { drop(blocked.report().await) });
    });
    // Here it would block the only thread that asks.
    while begun.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let _guard = metrics::set_default_local_recorder(&recorder);
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let down = async {
            while health.report().await.status != Status::Down {
                sleep(5 * MS).await;
            }
        };
        timeout(LIMIT, down).await.expect("it is stuck");
    });
    let metrics = handle.render();
    assert!(
        metrics.contains("health_check_status{check=\"blocking\"} 0\n"),
        "{metrics}"
    );
    // It has not completed.
    assert!(!metrics.contains("outcome=\"down\"} 1"), "{metrics}");
    drop(release);
    driver.join().expect("no panic");
}
