//! `examples/redis_required/` over real servers that are killed, frozen and protected by a password.

use std::thread::scope;

use bb8_redis::redis::AsyncCommands;
use http::Method;

use crate::{
    app::{App, PASSWORD, refused},
    helpers::wire::Wire,
    support::Redis,
};

const NAME: &str = "redis_required";
const ADMIN: &str = "/admin/health/redis";
/// Nothing listens on this port.
const NOWHERE: &str = "redis://alice:hunter2@127.0.0.1:1/";
/// The answers while Redis is down. As bytes: the order is part of the contract.
const DOWN: &str = r#"{"status":"unhealthy","version":"2.0.0","environment":"production","redis":{"status":"disconnected","backend":"redis"},"queue":{"status":"disconnected","backend":"redis","queue_depth":null}}"#;
const ADMIN_DOWN: &str = r#"{"counter_backend":{"status":"disconnected","backend":"redis"},"queue_service":{"status":"disconnected","backend":"redis","queue_depth":null},"demo_mode":false}"#;

async fn push(app: &App, job: &'static str) -> (u16, String) {
    app.send(Method::POST, "/jobs", job).await
}

#[test]
fn an_invalid_setting_fails_the_start() {
    let missing = "Redis validation failed: REDIS_URL environment variable is required";
    let not_url = "Redis validation failed: REDIS_URL is not the URL of a Redis server";
    let demo = "DEMO_MODE \"perhaps\" is neither true nor false";
    let limit = "RATE_LIMIT \"few\" is not a number";
    for (url, variable, line) in [
        ("", ("DEMO_MODE", ""), missing),
        ("", ("DEMO_MODE", "false"), missing),
        ("http://:hunter2@127.0.0.1", ("DEMO_MODE", ""), not_url),
        ("hunter2", ("DEMO_MODE", ""), not_url),
        (NOWHERE, ("DEMO_MODE", "perhaps"), demo),
        (NOWHERE, ("RATE_LIMIT", "few"), limit),
    ] {
        let stderr = refused(NAME, &[("REDIS_URL", url), variable]);
        assert_eq!(stderr, format!("❌ {line}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_redis_the_start_fails() {
    let frozen = Redis::start().await;
    frozen.freeze();
    let closed = Redis::builder().password("another").start().await;
    let wrong = closed.url().replace("another", PASSWORD);
    let replica = Redis::builder().config_line("replicaof 127.0.0.1 1");
    let replica = replica.start().await;
    let refuses = |url: &str, reason: &str| {
        let stderr = refused(NAME, &[("REDIS_URL", url)]);
        let server = url.rsplit(['@', '/']).nth(1).expect("a port");
        let cause = format!("cannot connect to Redis at {server}: {reason}");
        let line = format!("❌ Redis validation failed: {cause}");
        assert!(stderr.contains(&line), "{line} in {stderr}");
        assert!(!stderr.contains("alice"), "{stderr}");
    };
    // At the same time: each may take 3 s.
    scope(|scope| {
        scope.spawn(|| refuses(NOWHERE, "refused"));
        scope.spawn(|| refuses(&frozen.url(), "timeout"));
        scope.spawn(|| refuses(&wrong, "auth"));
        scope.spawn(|| refuses(&replica.url(), "read_only"));
    });
    frozen.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn limiter_and_queue_are_in_redis_and_shown_by_health() {
    let redis = Redis::builder().password(PASSWORD).start().await;
    let variables = [
        ("REDIS_URL", &*redis.url()),
        ("RATE_LIMIT", "2"),
        ("ENVIRONMENT", "production"),
    ];
    let app = App::start(NAME, &variables).await;
    let log = app.program.log();
    let steps: Vec<_> = log
        .lines()
        .filter_map(|line| line.strip_prefix("✓ "))
        .collect();
    let expected = [
        &format!("REDIS_URL: 127.0.0.1:{}", redis.port()),
        "Redis: connected, and keeps what is written",
        "counter backend: redis",
        "queue service: redis, queue_depth 0",
        &format!("listening: http://{}/health", app.address),
    ];
    assert_eq!(steps, expected, "{log}");
    assert!(!log.contains('⚠'), "{log}");
    let up = r#"{"status":"healthy","version":"2.0.0","environment":"production","redis":{"status":"connected","backend":"redis"},"queue":{"status":"connected","backend":"redis","queue_depth":0}}"#;
    app.shows("/health", 200, up).await;
    let admin_up = r#"{"counter_backend":{"status":"connected","backend":"redis"},"queue_service":{"status":"connected","backend":"redis","queue_depth":0},"demo_mode":false}"#;
    app.shows(ADMIN, 200, admin_up).await;

    assert_eq!(push(&app, "one").await.0, 202);
    let second = (202, r#"{"queue_depth":2}"#.to_owned());
    assert_eq!(push(&app, "two").await, second);
    assert_eq!(push(&app, "three").await.0, 429);
    let mut connection = redis.connection().await;
    let counter = connection.ttl("redis_required:count:127.0.0.1").await;
    let ends: i64 = counter.expect("an end");
    assert!((1..=60).contains(&ends), "{ends}");

    // Another instance shares the queue: its job is counted, too.
    let pushed = connection.rpush("redis_required:jobs", "other").await;
    assert_eq!(pushed, Ok(3));
    app.shows(ADMIN, 200, &admin_up.replace(":0", ":3")).await;
    for job in ["one", "two", "other"] {
        let next = app.send(Method::POST, "/jobs/next", "").await;
        assert_eq!(next, (200, job.to_owned()));
    }
    assert_eq!(app.send(Method::POST, "/jobs/next", "").await.0, 204);
    app.shows("/health", 200, up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_or_frozen_is_503_until_it_recovers() {
    let mut redis = Redis::builder().password(PASSWORD).start().await;
    let variables = [("REDIS_URL", &*redis.url()), ("ENVIRONMENT", "production")];
    let app = App::start(NAME, &variables).await;
    redis.kill();
    // The first request reports it: no earlier result is returned.
    assert_eq!(app.get("/health").await, (503, DOWN.to_owned()));
    assert_eq!(push(&app, "a job").await.0, 503);
    redis.restart().await;
    app.becomes("/health", 200).await;
    redis.freeze();
    app.shows("/health", 503, DOWN).await;
    app.shows(ADMIN, 503, ADMIN_DOWN).await;
    redis.thaw();
    app.becomes("/health", 200).await;
    app.drains("/health", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_demo_mode_memory_replaces_redis_with_warnings() {
    let missing = "REDIS_URL environment variable is required";
    let refused = "cannot connect to Redis at 127.0.0.1:1: refused";
    let memory = "⚠ demo mode: counters and queue are in memory, until this process ends";
    for (demo, url, cause) in [("true", "", missing), ("TRUE", NOWHERE, refused)] {
        let app = App::start(NAME, &[("DEMO_MODE", demo), ("REDIS_URL", url)]).await;
        let log = app.program.log();
        let warnings = format!("⚠ Redis validation failed: {cause}\n{memory}\n");
        assert!(log.contains(&warnings), "{log}");
        assert!(!log.contains("alice"), "{log}");
        assert_eq!(push(&app, "one").await.0, 202);
        let up = r#"{"status":"healthy","version":"2.0.0","environment":"development","redis":{"status":"connected","backend":"memory"},"queue":{"status":"connected","backend":"memory","queue_depth":1}}"#;
        app.shows("/health", 200, up).await;
        let up = r#"{"counter_backend":{"status":"connected","backend":"memory"},"queue_service":{"status":"connected","backend":"memory","queue_depth":1},"demo_mode":true}"#;
        app.shows(ADMIN, 200, up).await;

        let mut forwarded = Wire::connect(app.address).await;
        let head = format!("GET {ADMIN} HTTP/1.1\r\nhost: localhost\r\nvia: 1.1 proxy\r\n\r\n");
        forwarded.send(head).await;
        let denied = forwarded.answer().await;
        assert_eq!((denied.code, &*denied.body), (403, ""));
        app.drains("/health", 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_demo_mode_a_redis_outage_is_degraded() {
    let mut redis = Redis::start().await;
    let variables = [
        ("REDIS_URL", &*redis.url()),
        ("DEMO_MODE", "true"),
        ("ENVIRONMENT", "staging"),
    ];
    let app = App::start(NAME, &variables).await;
    app.becomes("/health", 200).await;
    redis.kill();
    let degraded = DOWN.replace("unhealthy", "degraded");
    let degraded = degraded.replace("production", "staging");
    app.shows("/health", 200, &degraded).await;
}
