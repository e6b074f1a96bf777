//! A run is detached: callers, each way in which a run ends, and runtimes that end or are not driven.

use std::{
    error::Error,
    fmt,
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::Notify,
    task::{JoinSet, yield_now},
    time::{Instant, advance, sleep, timeout},
};
use tower_health::{CheckResult, Dependency, Failure, Health, Outcome, Reason, Status};

use super::{
    fixtures::{MS, SECOND, becomes, checked, health, known, published, runtime, undriven, up},
    reports::assert_documented,
};
use crate::{
    helpers::{gate::Gate, layer_client::LayerClient, switch::Switch},
    support::{MAXIMUM_WAIT, wait_until},
};

/// Over HTTP and without it. A third of the callers disconnect, the one that starts the run among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_make_one_run_however_it_ends() {
    for expected in [
        None,
        Some(Reason::Refused),
        Some(Reason::Panicked),
        Some(Reason::Timeout),
    ] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(50 * MS).await;
                match expected {
                    Some(Reason::Panicked) => panic!("a bug in the check"),
                    Some(Reason::Timeout) => pending().await,
                    Some(reason) => Err(Failure::new(reason)),
                    None => Ok(Outcome::up()),
                }
            }
        };
        // A panic takes long where its backtrace is printed.
        let is_short = expected == Some(Reason::Timeout);
        let limit = if is_short { 200 * MS } else { MAXIMUM_WAIT };
        let dependency = Dependency::new("a", check).timeout(limit);
        let health = Health::builder()
            .add(dependency.cache_for(2 * MAXIMUM_WAIT))
            .answer_within(2 * MAXIMUM_WAIT)
            .build();
        let client = LayerClient::new(&health);
        let _ = timeout(MS, health.report()).await;
        let mut callers = JoinSet::new();
        for number in 0..1_000 {
            let (health, client) = (health.clone(), client.clone());
            callers.spawn(async move {
                match number % 3 {
                    0 => drop(timeout(MS, health.report()).await),
                    1 => assert_eq!(health.report().await.entries[0].reason, expected),
                    _ => assert_eq!(client.code("/health").await == 200, expected.is_none()),
                }
            });
        }
        callers.join_all().await;
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn probers_cost_at_most_one_check_per_period() {
    // How often each of four probers probes, the cache, and the runs: a period is up to a tenth longer.
    for (every, cache, expected) in [(SECOND, 900 * MS, 100..=100), (50 * MS, 250 * MS, 17..=21)] {
        let switch = Switch::on();
        let health = health(Dependency::new("a", switch.check()).cache_for(cache));
        let client = LayerClient::new(&health);
        for _ in 0..100 {
            for path in ["/readyz", "/health", "/health/a", "/livez"] {
                assert_eq!(client.code(path).await, 200, "{path}");
            }
            sleep(every).await;
        }
        assert!(expected.contains(&switch.runs()), "{}", switch.runs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_past_its_timeout_is_down_and_cancelled() {
    let gate = Gate::new();
    let health = checked(gate.check());
    let start = Instant::now();
    let entry = health.report().await.entries.remove(0);
    let found = (entry.status, entry.reason);
    assert_eq!(found, (Status::Down, Some(Reason::Timeout)));
    assert!((800 * MS..900 * MS).contains(&start.elapsed()));
    sleep(MS).await;
    assert_eq!(Arc::strong_count(&gate.pass), 2, "the check is left");
}

#[tokio::test(start_paused = true)]
async fn after_the_maximum_wait_the_pending_run_is_reported() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("slow", gate.check()).timeout(5 * SECOND))
        .answer_within(100 * MS)
        .build();
    let report = health.report().await;
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.entries[0].reason, Some(Reason::Pending));
    assert!(report.entries[0].pending_for >= Some(100 * MS));

    gate.pass.add_permits(1);
    sleep(10 * MS).await;
    assert_eq!(health.snapshot().status, Status::Up);
    // The next run is slow, too: the last result counts while it is not far past its lifetime.
    advance(1_500 * MS).await;
    let report = health.report().await;
    assert_eq!(report.status, Status::Up);
    assert!(report.entries[0].pending_for.is_some());
    gate.pass.add_permits(1);
    sleep(10 * MS).await;
    advance(3_600 * SECOND).await;
    assert_eq!(health.report().await.status, Status::Unknown);
}

static HANDLE: OnceLock<Health> = OnceLock::new();

/// An error that may panic when it is displayed, and calls the handle when it is dropped.
#[derive(Debug)]
struct Hostile(bool);

impl fmt::Display for Hostile {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.0, "in the error");
        Ok(())
    }
}

impl Error for Hostile {}

impl Drop for Hostile {
    fn drop(&mut self) {
        HANDLE.get().map(Health::snapshot);
    }
}

/// Hangs if an error is dropped under a lock.
#[tokio::test(start_paused = true)]
async fn a_panic_is_a_cached_failure_of_its_check_alone() {
    fn before_the_future() -> std::future::Ready<CheckResult> {
        panic!("before the future")
    }
    let in_the_future = async || -> CheckResult { panic!("in the future") };
    let hostile = |panics| {
        move || async move { Err(Failure::new(Reason::Refused).caused_by(Hostile(panics))) }
    };
    let builder = Health::builder()
        .check("before", before_the_future)
        .check("in", in_the_future)
        .check("error", hostile(true))
        .check("refused", hostile(false))
        .check("healthy", up);
    let health = HANDLE.get_or_init(|| builder.build());
    for failures in [1, 1, 2, 2] {
        let report = health.report().await;
        for entry in &report.entries[..4] {
            let is_refused = &*entry.name == "refused";
            let reason = if is_refused {
                Reason::Refused
            } else {
                Reason::Panicked
            };
            let found = (entry.reason, entry.consecutive_failures);
            assert_eq!(found, (Some(reason), failures), "{}", entry.name);
        }
        assert_eq!(report.entries[4].status, Status::Up);
        advance(SECOND / 2).await;
    }
}

/// A caller on another runtime joins the run and is woken when the runtime of the run ends.
#[test]
fn a_runtime_that_ends_is_not_a_failure() {
    let gate = Gate::new();
    let dependency = Dependency::new("a", gate.check()).cache_for(Duration::ZERO);
    let health = Health::builder()
        .add(dependency.timeout(60 * MAXIMUM_WAIT))
        .answer_within(60 * MAXIMUM_WAIT)
        .build();
    let (ends, other) = (runtime(), undriven());
    ends.block_on(async {
        let _ = timeout(Duration::ZERO, health.report()).await;
        wait_until("the run starts", MAXIMUM_WAIT, async || gate.runs() == 1).await;
    });
    let caller = other.spawn(async move { health.report().await });
    // The task is polled once: it waits before that runtime ends, and is polled again only if it is woken.
    other.block_on(yield_now());
    drop(ends);
    gate.pass.add_permits(1);
    let report = other.block_on(async { timeout(MAXIMUM_WAIT, caller).await });
    let report = report.expect("joins another run").expect("no panic");
    let entry = &report.entries[0];
    assert_eq!((entry.status, gate.runs()), (Status::Up, 2));
    assert_eq!((entry.consecutive_failures, entry.history().len()), (0, 1));
}

#[test]
fn outside_a_runtime_last_results_are_returned() {
    let gate = Gate::new();
    let health = health(Dependency::new("a", gate.check()).cache_for(Duration::ZERO));
    let without_timer = Builder::new_current_thread().build().expect("a runtime");
    let assert_reports = |status: Status, reason: Option<Reason>| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(outside) = pin!(health.report()).poll(&mut cx) else {
            unreachable!("no run can start")
        };
        let without = without_timer.block_on(health.report());
        for report in [health.snapshot(), outside, without] {
            assert_eq!((report.status, report.entries[0].reason), (status, reason));
        }
    };
    assert_reports(Status::Unknown, Some(Reason::Pending));
    gate.pass.add_permits(1);
    assert_eq!(runtime().block_on(health.report()).status, Status::Up);
    assert_reports(Status::Up, None);
    assert_eq!(gate.runs(), 1);
}

#[test]
fn a_run_whose_runtime_is_not_driven_is_superseded() {
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counter, late) = (runs.clone(), gate.clone());
    let check = move || {
        let is_first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        let late = late.clone();
        async move {
            if is_first {
                late.notified().await;
            }
            Ok(Outcome::up())
        }
    };
    let health = health(Dependency::new("a", check).timeout(50 * MS));
    let left = undriven();
    left.block_on(async {
        let _ = timeout(Duration::ZERO, health.report()).await;
        while runs.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
    });
    runtime().block_on(becomes(&health, Status::Up));
    // The old run can end now; its result is ignored.
    gate.notify_one();
    left.block_on(async { sleep(20 * MS).await });
    let entry = known(&health);
    assert!(entry.history().iter().all(|run| run.status == Status::Up));
    assert_eq!(entry.history().len(), runs.load(Ordering::SeqCst) - 1);
}

/// A run that blocks its thread cannot be cancelled. Report, transitions and metrics show the same.
#[test]
fn a_stuck_run_is_down_after_the_threshold_and_runs_alone() {
    const THRESHOLD: u32 = 3;
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let check = move || {
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            // Ends with the sender.
            let _ = gate.lock().expect("no panic").recv();
        }
        up()
    };
    let dependency = Dependency::new("a", check).timeout(50 * MS);
    let health = health(dependency.cache_for(50 * MS).failure_threshold(THRESHOLD));
    let blocked = health.clone();
    let driver = thread::spawn(move || undriven().block_on(blocked.report()));
    while runs.load(Ordering::SeqCst) == 0 {
        thread::sleep(MS);
    }
    #[cfg(feature = "metrics")]
    let (recorder, series) = super::metrics::recorder();
    #[cfg(feature = "metrics")]
    let _guard = metrics::set_default_local_recorder(&recorder);
    // On this thread, which the recorder is set for.
    undriven().block_on(async {
        let mut transitions = health.subscribe();
        let (mut last, mut entry) = (Status::Unknown, known(&health));
        wait_until("the run is stuck", MAXIMUM_WAIT, async || {
            entry = health.report().await.entries.remove(0);
            assert_documented(&entry);
            let is_early = entry.consecutive_failures < THRESHOLD;
            assert!(entry.status != Status::Down || !is_early, "{entry:?}");
            while let Some(transition) = published(&mut transitions).await {
                last = transition.to;
            }
            assert_eq!(entry.status, last);
            entry.reason == Some(Reason::Stuck)
        })
        .await;
        assert!(entry.pending_for >= Some(150 * MS), "{entry:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 1, "no second run is started");
        #[cfg(feature = "metrics")]
        assert_eq!(series.values("health_check_status{"), [0.0]);
        drop(release);
        becomes(&health, Status::Up).await;
        let next = timeout(MAXIMUM_WAIT, transitions.recv()).await;
        let next = next.expect("in time").expect("a handle lives");
        assert_eq!((next.from, next.to), (Status::Down, Status::Up));
    });
    driver.join().expect("no panic");
}
