//! Background runs: callers never wait, and a refresh that has stopped is reported as stale.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};
use tower_health::{Dependency, Health, Reason, Status};

use super::{
    fixtures::{MS, SECOND, becomes, delayed, known, undriven, up},
    reports::assert_documented,
};
use crate::{
    helpers::switch::Switch,
    support::{MAXIMUM_WAIT, wait_until},
};

#[tokio::test(start_paused = true)]
async fn no_caller_waits_and_the_longer_period_counts() {
    // Refresh, cache, and how many runs start in 600 s: a period is up to a tenth longer.
    for (refresh, cache, expected) in [
        (1, Some(60), 9..=11),
        (60, Some(1), 9..=11),
        (60, None, 9..=11),
        (1, None, 540..=601),
    ] {
        let switch = Switch::on();
        let mut dependency = Dependency::new("a", delayed(300 * MS, switch.check()));
        if let Some(cache) = cache {
            dependency = dependency.cache_for(cache * SECOND);
        }
        let builder = Health::builder().add(dependency);
        let health = builder.refresh_every(refresh * SECOND).build();
        let period = refresh.max(cache.unwrap_or_default()) * SECOND;
        assert_eq!(known(&health).interval, Some(period));
        let mut before = 0;
        for second in 0..670 {
            let start = Instant::now();
            let expected = [Status::Up, Status::Unknown][usize::from(second == 0)];
            let report = health.report().await;
            assert_eq!(report.status, expected);
            // No caller waits for a run in flight.
            assert!(second == 0 || report.entries[0].pending_for.is_none());
            assert_eq!(start, Instant::now());
            if second == 70 {
                before = switch.runs();
            }
            sleep(SECOND).await;
        }
        let runs = switch.runs() - before;
        assert!(expected.contains(&runs), "{refresh} {cache:?}: {runs}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_period_has_a_minimum() {
    let switch = Switch::on();
    let dependency = Dependency::new("a", switch.check()).cache_for(Duration::ZERO);
    let builder = Health::builder().add(dependency);
    let _health = builder.refresh_every(Duration::from_nanos(1)).build();
    sleep(SECOND).await;
    assert!((1..=101).contains(&switch.runs()), "{}", switch.runs());
}

/// Without a random first phase a fleet that was deployed at once would check at once.
#[tokio::test(start_paused = true)]
async fn handles_built_at_once_spread_their_runs() {
    let (runs_in_second, start) = (Arc::new(Mutex::new([0; 61])), Instant::now());
    let runs = runs_in_second.clone();
    let check = move || {
        let second = usize::try_from(start.elapsed().as_secs()).expect("a minute");
        runs.lock().expect("no panic under it")[second] += 1;
        up()
    };
    let build = |_| {
        let builder = Health::builder().check("a", check.clone());
        builder.refresh_every(10 * SECOND).build()
    };
    let _handles: Vec<_> = (0..200).map(build).collect();
    sleep(60 * SECOND).await;
    let runs = runs_in_second.lock().expect("no panic under it");
    // 18 or 19 on average; all of them at the same time are 200.
    let most = runs[20..60].iter().max().expect("40 seconds");
    assert!((10..60).contains(most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn it_runs_without_callers_and_ends_with_the_last_handle() {
    let switch = Switch::on();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let idle = tasks();
    let builder = Health::builder().check("a", switch.check());
    let health = builder.refresh_every(SECOND).build();
    assert!(!health.is_started());
    sleep(10 * SECOND).await;
    assert!((8..=11).contains(&switch.runs()), "{}", switch.runs());
    assert_eq!(health.snapshot().status, Status::Up);
    assert!(health.is_started(), "startup latches without a probe");
    drop(health.clone());
    assert!(tasks() > idle);
    drop(health);
    sleep(SECOND).await;
    assert_eq!(tasks(), idle);
}

/// The runtime of the refresh has ended, or is no longer driven.
#[test]
fn a_stale_result_is_published_and_so_is_its_recovery() {
    for has_ended in [true, false] {
        let builder = Health::builder().add(Dependency::new("a", up).timeout(50 * MS));
        let health = builder.refresh_every(50 * MS).build();
        let first = undriven();
        first.block_on(becomes(&health, Status::Up));
        let left = (!has_ended).then_some(first);
        let mut transitions = health.subscribe();
        undriven().block_on(wait_until("it is stale", MAXIMUM_WAIT, async || {
            known(&health).reason == Some(Reason::Stale)
        }));
        assert_documented(&known(&health));
        // The next caller or subscriber starts the refresh on its own runtime.
        undriven().block_on(async {
            if !has_ended {
                becomes(&health, Status::Up).await;
            }
            for expected in [(Status::Down, Some(Reason::Stale)), (Status::Up, None)] {
                let next = timeout(MAXIMUM_WAIT, transitions.recv()).await;
                let next = next.expect("in time").expect("a handle lives");
                assert_eq!((next.to, next.reason), expected);
            }
        });
        drop(left);
    }
}
