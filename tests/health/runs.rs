//! A run is detached: what a caller does, and each way in which a run ends.

use std::{
    error::Error,
    fmt,
    future::pending,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, advance, sleep, timeout};
use tower_health::{CheckResult, Dependency, Failure, Health, Outcome, Reason, Status};

use super::fixtures::{MS, SECOND, slow, up};
use crate::{
    helpers::{gate::Gate, switch::Switch},
    support::MAXIMUM_WAIT,
};

#[tokio::test(start_paused = true)]
async fn callers_that_disconnect_cancel_no_run() {
    let gate = Gate::new();
    let health = Health::builder().check("a", gate.check()).build();
    for _ in 0..20 {
        assert!(timeout(5 * MS, health.report()).await.is_err());
    }
    gate.pass.add_permits(1);
    while health.snapshot().status != Status::Up {
        sleep(MS).await;
    }
    // The next caller gets the result of that run.
    assert_eq!(health.report().await.status, Status::Up);
    assert_eq!(gate.runs(), 1);
}

/// Half of the callers disconnect.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_make_one_run_however_it_ends() {
    for (ends, expected) in [
        ("up", None),
        ("down", Some(Reason::Refused)),
        ("panic", Some(Reason::Panicked)),
        ("timeout", Some(Reason::Timeout)),
    ] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let check = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(50 * MS).await;
                match ends {
                    "up" => Ok(Outcome::up()),
                    "down" => Err(Failure::new(Reason::Refused)),
                    "panic" => panic!("a bug in the check"),
                    _ => pending().await,
                }
            }
        };
        // A panic takes long where its backtrace is printed.
        let limit = if ends == "timeout" {
            200 * MS
        } else {
            MAXIMUM_WAIT
        };
        let dependency = Dependency::new("a", check).timeout(limit);
        let health = Health::builder()
            .add(dependency.cache_for(2 * MAXIMUM_WAIT))
            .answer_within(2 * MAXIMUM_WAIT)
            .build();
        let callers: Vec<_> = (0..1_000)
            .map(|number| {
                let health = health.clone();
                tokio::spawn(async move {
                    if number % 2 == 0 {
                        let _ = timeout(MS, health.report()).await;
                        return expected;
                    }
                    health.report().await.entries[0].reason
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.expect("no panic"), expected, "{ends}");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{ends}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_of_several_dependencies_are_concurrent() {
    let mut builder = Health::builder();
    for name in ["a", "b", "c", "d"] {
        builder = builder.check(name, slow(300 * MS));
    }
    let start = Instant::now();
    assert_eq!(builder.build().report().await.status, Status::Up);
    assert!(start.elapsed() < 310 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_run_past_its_timeout_is_down_and_cancelled() {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    let check = move || {
        let guard = OnDrop(flag.clone());
        async move {
            let _guard = guard;
            pending().await
        }
    };
    let health = Health::builder().check("a", check).build();
    let start = Instant::now();
    let entry = health.report().await.entries.remove(0);
    let found = (entry.status, entry.reason);
    assert_eq!(found, (Status::Down, Some(Reason::Timeout)));
    assert!((800 * MS..900 * MS).contains(&start.elapsed()));
    sleep(MS).await;
    assert!(cancelled.load(Ordering::SeqCst));
    advance(2 * SECOND).await;
    assert_eq!(health.report().await.entries[0].consecutive_failures, 2);
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
    while health.snapshot().status != Status::Up {
        sleep(MS).await;
    }
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

#[tokio::test(start_paused = true)]
async fn a_prober_with_a_period_of_1_s_starts_a_run_each_time() {
    let switch = Switch::on();
    let health = Health::builder().check("a", switch.check()).build();
    for number in 1..=100 {
        assert_eq!(health.report().await.status, Status::Up);
        assert_eq!(switch.runs(), number);
        advance(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_may_be_cached_for_a_shorter_time() {
    let switch = Switch::off();
    let dependency = Dependency::new("a", switch.check()).cache_for(60 * SECOND);
    let health = Health::builder()
        .add(dependency.cache_failures_for(SECOND))
        .build();
    // Whether the server is up, the time that passes, and the status that is reported then.
    for (is_up, passed, expected) in [
        (false, Duration::ZERO, Status::Down),
        (true, SECOND / 2, Status::Down),
        (true, SECOND, Status::Up),
        (false, 59 * SECOND, Status::Up),
        (false, 8 * SECOND, Status::Down),
    ] {
        switch.set(is_up);
        advance(passed).await;
        let report = health.report().await;
        assert_eq!(report.status, expected, "{is_up} {passed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_check_alone() {
    fn before_the_future() -> std::future::Ready<CheckResult> {
        panic!("before the future")
    }
    let in_the_future = async || -> CheckResult { panic!("in the future") };
    let health = Health::builder()
        .check("before", before_the_future)
        .check("in", in_the_future)
        .check("healthy", up)
        .build();
    for failures in 1..=3 {
        let report = health.report().await;
        for name in ["before", "in"] {
            let entry = report.entry(name).expect("registered");
            let found = (entry.reason, entry.consecutive_failures);
            assert_eq!(found, (Some(Reason::Panicked), failures), "{name}");
        }
        let healthy = report.entry("healthy").expect("registered");
        assert_eq!(healthy.status, Status::Up);
        advance(2 * SECOND).await;
    }
}

/// An error whose drop calls the handle.
#[derive(Debug)]
struct CallsHandle(Arc<OnceLock<Health>>);

/// An error whose text panics.
#[derive(Debug)]
struct PanicsInDisplay;

impl fmt::Display for CallsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl fmt::Display for PanicsInDisplay {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a bug in the error")
    }
}

impl Error for CallsHandle {}
impl Error for PanicsInDisplay {}

impl Drop for CallsHandle {
    fn drop(&mut self) {
        if let Some(health) = self.0.get() {
            let _ = health.snapshot();
        }
    }
}

/// Hangs if the error is dropped under a lock.
#[tokio::test]
async fn an_error_may_call_the_handle_when_it_is_dropped() {
    let handle = Arc::new(OnceLock::new());
    let shared = handle.clone();
    let check = move || {
        let error = CallsHandle(shared.clone());
        async move { Err(Failure::new(Reason::Refused).caused_by(error)) }
    };
    let health = Health::builder().check("a", check).build();
    assert!(handle.set(health.clone()).is_ok());
    let entry = health.report().await.entries.remove(0);
    assert_eq!(entry.reason, Some(Reason::Refused));
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_text_panics_is_panicked_and_cached() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let check = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Err(Failure::new(Reason::Refused).caused_by(PanicsInDisplay)) }
    };
    let dependency = Dependency::new("a", check).cache_for(60 * SECOND);
    let health = Health::builder().add(dependency).build();
    for _ in 0..100 {
        let entry = health.report().await.entries.remove(0);
        let found = (entry.status, entry.reason);
        assert_eq!(found, (Status::Down, Some(Reason::Panicked)));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
