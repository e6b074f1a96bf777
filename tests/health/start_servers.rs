//! An app that starts before its servers do, and what listeners hear of real ones.

use std::time::Duration;

use crate::support::{Postgres, Redis, wait_until};
use bb8_postgres::PostgresConnectionManager;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tower_health::{
    Dependency, Health, Probe, Reason, Status, checks,
    health::{AddErrorKind, NotReady, Transition, Transitions},
};

const LIMIT: Duration = Duration::from_secs(30);

fn app(postgres: &Postgres, redis: &Redis) -> Health {
    Health::builder()
        .check("database", checks::postgres(postgres.pool(2)))
        .check("cache", checks::redis(redis.pool(2)))
        .build()
}

fn failing(error: &NotReady) -> Vec<(&str, Option<Reason>)> {
    let entries = error.failing().iter();
    entries.map(|entry| (&*entry.name, entry.reason)).collect()
}

async fn status(health: &Health, probe: Probe) -> Status {
    health.report_for(&probe).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_them_and_says_meanwhile_which_ones_it_waits_for() {
    let (mut postgres, mut redis) = tokio::join!(Postgres::start(), Redis::start());
    postgres.kill();
    redis.kill();
    let health = app(&postgres, &redis);

    let refused = Some(Reason::Refused);
    let error = health.ensure_ready().await.expect_err("both are gone");
    assert_eq!(failing(&error), [("database", refused), ("cache", refused)]);
    let line = error.to_string();
    assert!(
        line.starts_with("not ready: database is down (refused"),
        "{line}"
    );
    assert!(line.contains("; cache is down (refused"), "{line}");
    assert_eq!(status(&health, Probe::Readiness).await, Status::Down);

    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.wait_until_ready(LIMIT).await }
    });
    redis.restart().await;
    wait_until("the database alone is missing", LIMIT, async || {
        let error = health.ensure_ready().await.expect_err("one is gone");
        failing(&error) == [("database", refused)]
    })
    .await;
    assert!(!waiting.is_finished() && !health.is_started());
    assert_eq!(status(&health, Probe::Startup).await, Status::Down);
    postgres.restart().await;
    waiting.await.expect("no panic").expect("ready");
    assert_eq!(status(&health, Probe::Readiness).await, Status::Up);

    // Unready again, and started permanently.
    postgres.kill();
    wait_until("it is unready", LIMIT, async || {
        status(&health, Probe::Readiness).await == Status::Down
    })
    .await;
    assert_eq!(status(&health, Probe::Startup).await, Status::Up);
    health
        .ensure_ready()
        .await
        .expect_err("the database is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_is_named_as_that_and_not_shown() {
    let postgres = Postgres::builder().password("right").start().await;
    let mut config = postgres.config();
    config.password("hunter2");
    let pool = bb8::Pool::builder().build_unchecked(PostgresConnectionManager::new(config, NoTls));
    let health = Health::builder()
        .check("database", checks::postgres(pool))
        .build();
    let limit = Duration::from_millis(1_500);
    let error = health.wait_until_ready(limit).await.expect_err("refused");
    assert_eq!(failing(&error), [("database", Some(Reason::Auth))]);
    let line = error.to_string();
    assert!(!line.contains("hunter2") && !line.contains('\n'), "{line}");
}

/// The next transition.
async fn next(transitions: &mut Transitions) -> Transition {
    let next = timeout(LIMIT, transitions.recv()).await;
    next.expect("in time").expect("a handle lives")
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_a_server_die_and_return_and_its_tenant_come_and_go() {
    let mut postgres = Postgres::start().await;
    let health = Health::builder()
        .refresh_every(Duration::from_millis(50))
        .build();
    let mut transitions = health.subscribe();
    let tenant = || Dependency::try_new("tenant-7".to_owned(), checks::postgres(postgres.pool(1)));
    let (first, second) = (tenant().expect("valid"), tenant().expect("valid"));
    health.add(first).expect("new");
    let up = next(&mut transitions).await;
    assert_eq!(
        (&*up.name, up.from, up.to),
        ("tenant-7", Status::Unknown, Status::Up)
    );
    assert_eq!(up.kind.as_deref(), Some("postgres"));
    let error = health.add(second).expect_err("taken");
    assert_eq!(error.kind(), AddErrorKind::NameTaken);

    postgres.kill();
    let down = next(&mut transitions).await;
    assert_eq!((down.from, down.to), (Status::Up, Status::Down));
    assert!(
        matches!(down.reason, Some(Reason::Refused | Reason::Reset)),
        "{down:?}"
    );
    assert_eq!(down.previous_for, down.at - up.at);
    postgres.restart().await;
    let back = next(&mut transitions).await;
    assert_eq!((back.from, back.to), (Status::Down, Status::Up));
    assert_eq!(back.previous_for, back.at - down.at);

    // A frozen server keeps its run on the way while its tenant goes.
    postgres.freeze();
    assert!(health.remove("tenant-7"));
    assert_eq!(health.report().await.entries.len(), 0);
    postgres.thaw();
    drop(health);
    let end = timeout(LIMIT, transitions.recv()).await.expect("in time");
    assert!(end.is_none(), "{end:?}");
}
