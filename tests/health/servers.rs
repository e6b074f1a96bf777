//! Real servers: an app that starts before them, and their faults over HTTP.

use bb8_postgres::PostgresConnectionManager;
use tokio_postgres::NoTls;
use tower_health::{
    Access, Dependency, Health, HealthLayer, Probe, Reason, Status, checks, health::NotReady,
};

use super::fixtures::{MS, SECOND, status};
use crate::{
    helpers::{peers::serve, wire},
    support::{MAXIMUM_WAIT, Postgres, Redis, wait_until},
};

fn failing(error: &NotReady) -> Vec<(&str, Option<Reason>)> {
    let entries = error.failing().iter();
    entries.map(|entry| (&*entry.name, entry.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_waits_for_its_servers_and_reports_their_faults() {
    let (mut postgres, mut redis) = tokio::join!(Postgres::start(), Redis::start());
    postgres.kill();
    redis.kill();
    let database = Dependency::new("database", checks::postgres(postgres.pool(2)));
    let cache = Dependency::new("cache", checks::redis(redis.pool(2)));
    let health = Health::builder()
        .add(database.cache_for(50 * MS))
        .add(cache.cache_for(50 * MS).required_until_started())
        .build();
    let (refused, timeout) = (r#""reason":"refused""#, r#""reason":"timeout""#);
    let both = [
        ("database", Some(Reason::Refused)),
        ("cache", Some(Reason::Refused)),
    ];
    wait_until("both refuse", MAXIMUM_WAIT, async || {
        let error = health.ensure_ready().await.expect_err("both are down");
        failing(&error) == both
    })
    .await;
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { health.wait_until_ready(4 * MAXIMUM_WAIT).await }
    });
    redis.restart().await;
    wait_until("only the database is down", MAXIMUM_WAIT, async || {
        let error = health.ensure_ready().await.expect_err("one is down");
        failing(&error) == both[..1]
    })
    .await;
    assert!(!waiting.is_finished() && !health.is_started());
    assert_eq!(status(&health, Probe::Startup).await, Status::Down);
    postgres.restart().await;
    waiting.await.expect("no panic").expect("ready");

    let address = serve(HealthLayer::new(health).details(Access::everybody())).await;
    let reports = async |path: &str, code: u16, part: &str| {
        let what = format!("{path} is {code} with {part}");
        wait_until(&what, MAXIMUM_WAIT, async || {
            let answer = wire::get(address, path).await;
            answer.code == code && answer.body.contains(part)
        })
        .await;
    };
    let (up, degraded) = (r#"{"status":"up""#, r#"{"status":"degraded""#);
    reports("/readyz", 200, up).await;
    postgres.freeze();
    reports("/readyz/database", 503, timeout).await;
    reports("/readyz", 503, timeout).await;
    for path in ["/livez", "/startupz", "/readyz/cache"] {
        reports(path, 200, up).await;
    }
    postgres.thaw();
    reports("/readyz", 200, up).await;
    postgres.kill();
    reports("/readyz", 503, refused).await;
    postgres.restart().await;
    reports("/readyz", 200, up).await;

    redis.freeze();
    reports("/readyz/cache", 503, timeout).await;
    reports("/readyz", 200, degraded).await;
    redis.thaw();
    reports("/readyz", 200, up).await;
    redis.kill();
    reports("/readyz/cache", 503, refused).await;
    reports("/readyz", 200, degraded).await;
    redis.restart().await;
    reports("/readyz", 200, up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_not_shown() {
    let postgres = Postgres::builder().password("right").start().await;
    let mut config = postgres.config();
    config.password("hunter2");
    let pool = bb8::Pool::builder().build_unchecked(PostgresConnectionManager::new(config, NoTls));
    let database = Dependency::new("database", checks::postgres(pool)).timeout(3 * SECOND);
    let health = Health::builder().add(database).build();
    let error = health.ensure_ready().await.expect_err("refused");
    assert_eq!(failing(&error), [("database", Some(Reason::Auth))]);
    let line = error.to_string();
    assert!(!line.contains("hunter2") && !line.contains('\n'), "{line}");
}
