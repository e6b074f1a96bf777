//! Transitions, and the subscribers that receive them.

use std::{collections::HashMap, future::pending, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep, timeout},
};
use tower_health::{
    Dependency, Failure, Health, Outcome, Reason, Status,
    health::{Transition, Transitions},
};

use super::fixtures::{MS, SECOND, Scripted, published, slow, up};
use crate::support::MAXIMUM_WAIT;

/// The next run, 2 s later.
async fn run(health: &Health) {
    advance(2 * SECOND).await;
    let _ = health.report().await;
}

/// The status of the next transition that was published already.
async fn next_status(transitions: &mut Transitions) -> Option<Status> {
    let next: Option<Transition> = published(transitions).await;
    next.map(|transition| transition.to)
}

#[tokio::test(start_paused = true)]
async fn a_transition_has_statuses_reason_and_duration() {
    let check = Scripted::new();
    let database = Dependency::new("database", check.check()).kind("postgres");
    let health = Health::builder().add(database.optional()).build();
    let mut transitions = health.subscribe();
    for _ in 0..5 {
        run(&health).await;
    }
    let first = published(&mut transitions).await.expect("a first result");
    assert_eq!((first.from, first.to), (Status::Unknown, Status::Up));
    assert_eq!(first.previous_for, 2 * SECOND);
    assert!(published(&mut transitions).await.is_none());

    check.set_down();
    run(&health).await;
    // Another reason for the same status is not a transition.
    check.set(|| Err(Failure::new(Reason::Reset)));
    run(&health).await;
    let down = published(&mut transitions).await.expect("it is down");
    assert_eq!(down.previous_for, 10 * SECOND);
    assert!(published(&mut transitions).await.is_none());
    assert_eq!(
        serde_json::to_string(&down).expect("serialises"),
        r#"{"name":"database","kind":"postgres","required":false,"from":"up","to":"down","reason":"refused","message":"connection refused","previous_for_ms":10000}"#
    );

    check.set(|| Ok(Outcome::degraded(Reason::Saturated)));
    run(&health).await;
    let back = published(&mut transitions).await.expect("it recovered");
    assert_eq!((back.from, back.to), (Status::Down, Status::Degraded));
    let found = (back.reason, back.previous_for);
    assert_eq!(found, (Some(Reason::Saturated), 4 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn failures_below_the_threshold_are_not_transitions() {
    let check = Scripted::new();
    let health = Health::builder()
        .add(Dependency::new("a", check.check()).failure_threshold(3))
        .build();
    run(&health).await;
    let mut transitions = health.subscribe();
    check.set_down();
    run(&health).await;
    run(&health).await;
    assert!(published(&mut transitions).await.is_none());
    run(&health).await;
    let down = published(&mut transitions).await.expect("a third failure");
    assert_eq!(down.previous_for, 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_receives_all_since_it_subscribed() {
    let check = Scripted::new();
    let health = Health::builder().check("a", check.check()).build();
    let mut early: Vec<_> = (0..100).map(|_| health.subscribe()).collect();
    run(&health).await;
    let mut late = health.subscribe();
    check.set_down();
    run(&health).await;
    for transitions in &mut early {
        assert_eq!(next_status(transitions).await, Some(Status::Up));
        let mut clone = transitions.clone();
        for transitions in [transitions, &mut clone] {
            assert_eq!(next_status(transitions).await, Some(Status::Down));
        }
    }
    assert_eq!(next_status(&mut late).await, Some(Status::Down));
    assert_eq!(next_status(&mut late).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_far_behind_gets_each_last_transition() {
    let (often, rare) = (Scripted::new(), Scripted::new());
    let health = Health::builder()
        .check("often", often.check())
        .check("rare", rare.check())
        .build();
    run(&health).await;
    let mut slow = health.subscribe();
    rare.set_down();
    run(&health).await;
    for _ in 0..500 {
        often.set_down();
        run(&health).await;
        often.set_up();
        run(&health).await;
    }
    often.set_down();
    run(&health).await;
    let mut received = Vec::new();
    while let Some(transition) = published(&mut slow).await {
        received.push((transition.name, transition.to));
    }
    let down = |name: &str| (name.into(), Status::Down);
    assert_eq!(received, [down("rare"), down("often")]);
}

#[tokio::test(start_paused = true)]
async fn checks_run_while_a_subscriber_waits() {
    let check = Scripted::new();
    let health = Health::builder().check("a", check.check()).build();
    let mut transitions = health.subscribe();
    // Nothing else calls the handle.
    let next = async |transitions: &mut Transitions| {
        let start = Instant::now();
        let next = timeout(60 * SECOND, transitions.recv()).await;
        assert!(start.elapsed() <= SECOND);
        next.expect("checks run").expect("a handle lives").to
    };
    assert_eq!(next(&mut transitions).await, Status::Up);
    check.set_down();
    assert_eq!(next(&mut transitions).await, Status::Down);
    check.set_up();
    assert_eq!(next(&mut transitions).await, Status::Up);
    drop(transitions);
    sleep(2 * SECOND).await;
    check.set_down();
    sleep(60 * SECOND).await;
    assert_eq!(health.snapshot().status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_the_last_handle() {
    let hanging = || async {
        pending::<()>().await;
        Ok(Outcome::up())
    };
    let health = Health::builder()
        .check("a", up)
        .check("hanging", hanging)
        .build();
    let mut transitions = health.subscribe();
    // Its run is in flight when the handle is dropped.
    assert!(timeout(MS, health.report()).await.is_err());
    drop(health);
    let next = transitions.recv().await;
    assert_eq!(next.map(|transition| transition.to), Some(Status::Up));
    for _ in 0..2 {
        assert!(transitions.recv().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_receive_loses_no_transition() {
    let health = Health::builder().check("a", up).build();
    let mut transitions = health.subscribe();
    assert_eq!(
        next_status(&mut transitions).await,
        None,
        "no run has ended"
    );
    let next = transitions.recv().await;
    assert_eq!(next.map(|transition| transition.to), Some(Status::Up));
}

#[tokio::test(start_paused = true)]
async fn transitions_of_a_removed_dependency_are_dropped() {
    let check = Scripted::new();
    let health = Health::builder().build();
    let mut transitions = health.subscribe();
    let add = |health: &Health| {
        let tenant = Dependency::new("tenant", check.check());
        health.add(tenant).expect("a new name");
    };
    add(&health);
    run(&health).await;
    assert_eq!(next_status(&mut transitions).await, Some(Status::Up));
    check.set_down();
    run(&health).await;
    // Published, and not received yet.
    assert!(health.remove("tenant"));
    assert_eq!(next_status(&mut transitions).await, None);
    add(&health);
    run(&health).await;
    let again = published(&mut transitions).await.expect("a new past");
    assert_eq!((again.from, again.to), (Status::Unknown, Status::Down));
    assert!(health.remove("tenant"));

    // A run that ends after the removal is not published either.
    let tenant = Dependency::new("tenant", slow(100 * MS));
    health.add(tenant).expect("a new name");
    assert!(timeout(MS, health.report()).await.is_err());
    assert!(health.remove("tenant"));
    assert!(timeout(SECOND, transitions.recv()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_subscribers_receive_the_last_transitions() {
    const DEPENDENCIES: usize = 20;
    let checks: Vec<_> = (0..DEPENDENCIES).map(|_| Scripted::new()).collect();
    let mut builder = Health::builder();
    for (number, check) in checks.iter().enumerate() {
        let dependency = Dependency::new(format!("d{number}"), check.check());
        builder = builder.add(dependency.cache_for(Duration::ZERO));
    }
    let health = builder.build();
    let mut control = health.subscribe();
    let subscribers: Vec<_> = (0..20)
        .map(|_| {
            let mut transitions = health.subscribe();
            tokio::spawn(async move {
                let mut last = HashMap::new();
                while let Some(transition) = transitions.recv().await {
                    last.insert(transition.name, transition.to);
                    yield_now().await;
                }
                last
            })
        })
        .collect();
    for change in 0..101 {
        for check in &checks {
            if change % 2 == 0 {
                check.set_down();
            } else {
                check.set_up();
            }
        }
        let _ = health.report().await;
    }
    // Runs that began before the last change may end after it. A run of the second such report began when
    // the transition of the one before it had been published.
    let all_down = async {
        let mut in_a_row = 0;
        while in_a_row < 2 {
            let report = health.report().await;
            let is_down = report
                .entries
                .iter()
                .all(|entry| entry.status == Status::Down);
            in_a_row = if is_down { in_a_row + 1 } else { 0 };
        }
        let mut last = HashMap::new();
        while last.values().filter(|to| **to == Status::Down).count() < DEPENDENCIES {
            let _ = health.report().await;
            while let Some(transition) = published(&mut control).await {
                last.insert(transition.name, transition.to);
            }
        }
    };
    timeout(MAXIMUM_WAIT, all_down).await.expect("all are down");
    drop(health);
    for subscriber in subscribers {
        let last = subscriber.await.expect("no panic");
        assert_eq!(last.len(), DEPENDENCIES);
        assert!(last.values().all(|status| *status == Status::Down));
    }
}
