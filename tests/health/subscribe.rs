//! Transitions, told to whoever listens.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep, timeout},
};
use tower_health::{
    CheckResult, Dependency, Failure, Health, Outcome, Reason, Status,
    health::{Transition, Transitions},
};

const SECOND: Duration = Duration::from_secs(1);

/// What the next run finds.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicU8>);

impl Switch {
    fn set(&self, status: Status, refused: bool) {
        let state = match status {
            Status::Up => 0,
            Status::Degraded => 1,
            _ if refused => 2,
            _ => 3,
        };
        self.0.store(state, Ordering::SeqCst);
    }

    fn check(&self) -> impl Fn() -> std::future::Ready<CheckResult> + use<> {
        let state = self.0.clone();
        move || {
            std::future::ready(match state.load(Ordering::SeqCst) {
                0 => Ok(Outcome::up()),
                1 => Ok(Outcome::degraded(Reason::Saturated)),
                2 => Err(Failure::new(Reason::Refused).message("nobody listens")),
                _ => Err(Failure::new(Reason::Reset)),
            })
        }
    }
}

/// The next run, two seconds later.
async fn look(health: &Health) {
    advance(2 * SECOND).await;
    let _ = health.report().await;
}

/// What has been told already.
async fn reported(transitions: &mut Transitions) -> Option<Transition> {
    timeout(Duration::ZERO, transitions.recv()).await.ok()?
}

#[tokio::test(start_paused = true)]
async fn each_says_from_where_to_where_why_and_after_how_long() {
    let switch = Switch::default();
    let health = Health::builder()
        .add(
            Dependency::new("database", switch.check())
                .kind("postgres")
                .optional(),
        )
        .build();
    let mut transitions = health.subscribe();
    for _ in 0..5 {
        look(&health).await;
    }
    let first = reported(&mut transitions).await.expect("its first verdict");
    assert_eq!((first.from, first.to), (Status::Unknown, Status::Up));
    assert_eq!(first.previous_for, 2 * SECOND);
    assert!(reported(&mut transitions).await.is_none());

    switch.set(Status::Down, true);
    look(&health).await;
    // Another reason for the same status is no transition.
    switch.set(Status::Down, false);
    look(&health).await;
    let down = reported(&mut transitions).await.expect("it went down");
    assert_eq!((down.from, down.to), (Status::Up, Status::Down));
    assert_eq!(down.reason, Some(Reason::Refused));
    assert_eq!(
        down.previous_for,
        10 * SECOND - first.previous_for + 2 * SECOND
    );
    assert!(reported(&mut transitions).await.is_none());
    assert_eq!(
        serde_json::to_string(&down).expect("serialises"),
        r#"{"name":"database","kind":"postgres","required":false,"from":"up","to":"down","reason":"refused","message":"nobody listens","previous_for_ms":10000}"#
    );

    switch.set(Status::Degraded, false);
    look(&health).await;
    let back = reported(&mut transitions).await.expect("it came back");
    assert_eq!((back.from, back.to), (Status::Down, Status::Degraded));
    assert_eq!(
        (back.reason, back.previous_for),
        (Some(Reason::Saturated), 4 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_is_shown_counts() {
    let switch = Switch::default();
    let health = Health::builder()
        .add(Dependency::new("a", switch.check()).failure_threshold(3))
        .build();
    look(&health).await;
    let mut transitions = health.subscribe();
    switch.set(Status::Down, true);
    look(&health).await;
    look(&health).await;
    assert!(reported(&mut transitions).await.is_none());
    look(&health).await;
    let down = reported(&mut transitions).await.expect("the third failure");
    assert_eq!(down.previous_for, 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn every_listener_hears_all_from_its_beginning_on() {
    let switch = Switch::default();
    let health = Health::builder().check("a", switch.check()).build();
    let mut early: Vec<_> = (0..100).map(|_| health.subscribe()).collect();
    look(&health).await;
    let mut late = health.subscribe();
    switch.set(Status::Down, true);
    look(&health).await;
    for transitions in &mut early {
        let mut clone = {
            let first = reported(transitions).await.expect("the first");
            assert_eq!(first.to, Status::Up);
            transitions.clone()
        };
        for transitions in [transitions, &mut clone] {
            let second = reported(transitions).await.expect("the second");
            assert_eq!(second.to, Status::Down);
        }
    }
    assert_eq!(
        reported(&mut late).await.map(|reported| reported.to),
        Some(Status::Down)
    );
    assert!(reported(&mut late).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_far_behind_gets_each_last_transition() {
    let (often, rare) = (Switch::default(), Switch::default());
    let health = Health::builder()
        .check("often", often.check())
        .check("rare", rare.check())
        .build();
    look(&health).await;
    let mut slow = health.subscribe();
    rare.set(Status::Down, true);
    look(&health).await;
    for change in 0..1_001 {
        let next = if change % 2 == 0 {
            Status::Down
        } else {
            Status::Up
        };
        often.set(next, true);
        look(&health).await;
    }
    let mut received = Vec::new();
    while let Some(transition) = reported(&mut slow).await {
        received.push((transition.name, transition.to));
    }
    let down = |name: &str| (name.into(), Status::Down);
    assert_eq!(received, [down("rare"), down("often")]);
}

#[tokio::test(start_paused = true)]
async fn while_somebody_subscribes_checks_run() {
    let switch = Switch::default();
    let health = Health::builder().check("a", switch.check()).build();
    let mut transitions = health.subscribe();
    // There is no prober, and there are no calls but these.
    let next = async |transitions: &mut Transitions| {
        let start = Instant::now();
        let next = timeout(60 * SECOND, transitions.recv()).await;
        assert!(start.elapsed() <= SECOND);
        next.expect("checks run").expect("there is a handle").to
    };
    assert_eq!(next(&mut transitions).await, Status::Up);
    switch.set(Status::Down, true);
    assert_eq!(next(&mut transitions).await, Status::Down);
    switch.set(Status::Up, true);
    assert_eq!(next(&mut transitions).await, Status::Up);
    drop(transitions);
    sleep(2 * SECOND).await;
    switch.set(Status::Down, true);
    sleep(60 * SECOND).await;
    assert_eq!(health.snapshot().status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_last_handle_and_loses_nothing_before() {
    let hanging = || async {
        pending::<()>().await;
        Ok(Outcome::up())
    };
    let health = Health::builder()
        .check("a", Switch::default().check())
        .check("hanging", hanging)
        .build();
    let mut transitions = health.subscribe();
    let caller = tokio::spawn({
        let health = health.clone();
        async move { health.report().await }
    });
    yield_now().await;
    caller.abort();
    let _ = caller.await;
    // Its run is still under way and outlives the handle.
    drop(health);
    assert_eq!(
        transitions.recv().await.map(|reported| reported.to),
        Some(Status::Up)
    );
    assert!(transitions.recv().await.is_none());
    assert!(transitions.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn giving_up_a_wait_loses_nothing() {
    let health = Health::builder()
        .check("a", Switch::default().check())
        .build();
    let mut transitions = health.subscribe();
    assert_eq!(
        reported(&mut transitions).await.map(|reported| reported.to),
        None,
        "no run has ended yet"
    );
    let waiting = tokio::spawn(async move { transitions.recv().await.map(|reported| reported.to) });
    assert_eq!(waiting.await.expect("no panic"), Some(Status::Up));
}

#[tokio::test(start_paused = true)]
async fn added_ones_are_reported_and_removed_ones_are_not() {
    let switch = Switch::default();
    let health = Health::builder().build();
    let mut transitions = health.subscribe();
    let added = |health: &Health| {
        let one = Dependency::new("tenant", switch.check());
        health.add(one).expect("a free name");
    };
    added(&health);
    look(&health).await;
    assert_eq!(
        reported(&mut transitions).await.map(|reported| reported.to),
        Some(Status::Up)
    );
    switch.set(Status::Down, true);
    look(&health).await;
    // What was told and not yet heard is not heard after the removal either.
    assert!(health.remove("tenant"));
    assert!(reported(&mut transitions).await.is_none());
    added(&health);
    look(&health).await;
    let again = reported(&mut transitions).await.expect("without a past");
    assert_eq!((again.from, again.to), (Status::Unknown, Status::Down));
}

#[tokio::test(start_paused = true)]
async fn the_last_run_of_a_removed_one_is_not_reported() {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Outcome::up())
    };
    let health = Health::builder().check("tenant", slow).build();
    let mut transitions = health.subscribe();
    let caller = tokio::spawn({
        let health = health.clone();
        async move { health.report().await }
    });
    yield_now().await;
    assert!(health.remove("tenant"));
    assert!(caller.await.expect("no panic").entries.is_empty());
    assert!(timeout(SECOND, transitions.recv()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listeners_beside_many_changes_all_hear_the_last_word() {
    const DEPENDENCIES: usize = 20;
    let switches: Vec<_> = (0..DEPENDENCIES).map(|_| Switch::default()).collect();
    let mut builder = Health::builder();
    for (number, switch) in switches.iter().enumerate() {
        let one = Dependency::new(format!("d{number}"), switch.check());
        builder = builder.add(one.cache_for(Duration::ZERO));
    }
    let health = builder.build();
    let mut control = health.subscribe();
    let listeners: Vec<_> = (0..20)
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
    for turn in 0..101 {
        let next = if turn % 2 == 0 {
            Status::Down
        } else {
            Status::Up
        };
        switches.iter().for_each(|switch| switch.set(next, true));
        let _ = health.report().await;
    }
    // A run that has just spoken may have answered the last question: ask until all were told.
    let mut last = HashMap::new();
    while last.values().filter(|to| **to == Status::Down).count() < DEPENDENCIES {
        let _ = health.report().await;
        while let Some(transition) = reported(&mut control).await {
            last.insert(transition.name, transition.to);
        }
    }
    drop(health);
    for listener in listeners {
        let last = listener.await.expect("no panic");
        assert_eq!(last.len(), DEPENDENCIES);
        assert!(last.values().all(|status| *status == Status::Down));
    }
}
