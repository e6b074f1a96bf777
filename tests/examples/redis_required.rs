//! `examples/redis_required/` over real servers that are killed, frozen and
//! protected by a password.

use std::thread::scope;

use bb8_redis::redis::AsyncCommands;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    app::{App, PASSWORD, refused},
    support::{MAXIMUM_WAIT, Redis, ask, wait_until},
};

const NAME: &str = "redis_required";
const QUEUE: &str = "redis_required:jobs";
/// Nothing listens on this port.
const NOWHERE: &str = "redis://alice:hunter2@127.0.0.1:1/";

async fn push(app: &App, job: &'static str) -> (u16, String) {
    app.send(Method::POST, "/jobs", job).await
}

/// Waits for this response of `/health`: a busy machine may be late.
async fn shows(app: &App, code: u16, expected: Value) {
    let what = format!("it shows {code} {expected}");
    let expected = (code, expected);
    wait_until(&what, MAXIMUM_WAIT, async || {
        app.json("/health").await == expected
    })
    .await;
}

#[test]
fn an_invalid_setting_fails_the_start() {
    let missing = "Redis validation failed: REDIS_URL environment variable is required";
    let not_url = "Redis validation failed: REDIS_URL is not the URL of a Redis server";
    for (variables, line) in [
        (&[][..], missing),
        (&[("REDIS_URL", "")], missing),
        (&[("DEMO_MODE", "false")], missing),
        (&[("REDIS_URL", "http://:hunter2@127.0.0.1")], not_url),
        (&[("REDIS_URL", "hunter2")], not_url),
        (&[("REDIS_URL", "redis://:hunter2@")], not_url),
        (
            &[("REDIS_URL", NOWHERE), ("DEMO_MODE", "perhaps")],
            "DEMO_MODE \"perhaps\" is neither true nor false",
        ),
        (
            &[("REDIS_URL", NOWHERE), ("RATE_LIMIT", "few")],
            "RATE_LIMIT \"few\" is not a number",
        ),
    ] {
        assert_eq!(refused(NAME, variables), format!("❌ {line}\n"));
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
    let without_password = closed.url().replace(":another@", "");
    let refuses = |url: &str, reason: &str| {
        let stderr = refused(NAME, &[("REDIS_URL", url)]);
        let server = url.rsplit(['@', '/']).nth(1).expect("a port");
        let line =
            format!("❌ Redis validation failed: cannot connect to Redis at {server}: {reason}");
        let is_expected = |printed: &str| printed.starts_with(&line);
        assert!(stderr.lines().any(is_expected), "{line} in {stderr}");
        assert!(!stderr.contains("alice"), "{stderr}");
    };
    // At the same time: each may take 3 s.
    block_in_place(|| {
        scope(|scope| {
            for (url, reason) in [
                (NOWHERE, "refused"),
                (&frozen.url(), "timeout"),
                (&wrong, "auth"),
                (&without_password, "auth"),
                (&replica.url(), "read_only"),
            ] {
                let url = url.to_owned();
                scope.spawn(move || refuses(&url, reason));
            }
        });
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
    let steps: Vec<_> = log.lines().filter(|line| line.starts_with("✓ ")).collect();
    let parts = [
        "REDIS_URL: 127.0.0.1:",
        "Redis: connected",
        "counter backend: redis",
        "queue service: redis, queue_depth 0",
        "listening",
    ];
    assert_eq!(steps.len(), parts.len(), "{log}");
    for (step, part) in steps.iter().zip(parts) {
        assert!(step.contains(part), "{part} in {steps:?}");
    }
    assert!(!log.contains('⚠'), "{log}");
    app.assert_no_password_is_logged();

    // As bytes: the order is part of the contract.
    let status = r#"{"status":"healthy","version":"2.0.0","environment":"production","#;
    let redis_and_queue = r#""redis":{"status":"connected","backend":"redis"},"queue":{"status":"connected","backend":"redis","queue_depth":0}}"#;
    let body = app.becomes("/health", 200).await;
    assert_eq!(body, format!("{status}{redis_and_queue}"));
    let counter = r#"{"counter_backend":{"status":"connected","backend":"redis"},"#;
    let queue = r#""queue_service":{"status":"connected","backend":"redis","queue_depth":0},"demo_mode":false}"#;
    let body = app.becomes("/admin/health/redis", 200).await;
    assert_eq!(body, format!("{counter}{queue}"));

    assert_eq!(push(&app, "one").await.0, 202);
    let second = (202, r#"{"queue_depth":2}"#.to_owned());
    assert_eq!(push(&app, "two").await, second);
    assert_eq!(push(&app, "three").await.0, 429);
    let mut connection = redis.connection().await;
    let jobs: Vec<String> = connection.lrange(QUEUE, 0, -1).await.expect("a list");
    assert_eq!(jobs, ["one", "two"]);
    let counter = "redis_required:count:127.0.0.1";
    let count: u64 = connection.get(counter).await.expect("a count");
    assert_eq!(count, 3);
    let ends: i64 = connection.ttl(counter).await.expect("an end");
    assert!((1..=60).contains(&ends), "{ends}");

    // Another instance shares the queue: its job is counted, too.
    let _: u64 = connection.rpush(QUEUE, "other").await.expect("pushed");
    let admin = app.becomes_json("/admin/health/redis", 200).await;
    assert_eq!(admin["queue_service"]["queue_depth"], 3);
    for job in ["one", "two", "other"] {
        let next = app.send(Method::POST, "/jobs/next", "").await;
        assert_eq!(next, (200, job.to_owned()));
    }
    assert_eq!(app.send(Method::POST, "/jobs/next", "").await.0, 204);
    assert_eq!(app.json("/health").await.1["queue"]["queue_depth"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_or_frozen_is_503_until_it_recovers() {
    let mut redis = Redis::builder().password(PASSWORD).start().await;
    let variables = [("REDIS_URL", &*redis.url()), ("ENVIRONMENT", "production")];
    let app = App::start(NAME, &variables).await;
    let down = json!({
        "status": "unhealthy", "version": "2.0.0", "environment": "production",
        "redis": {"status": "disconnected", "backend": "redis"},
        "queue": {"status": "disconnected", "backend": "redis", "queue_depth": null},
    });
    redis.kill();
    // The first request reports it: no earlier result is returned.
    assert_eq!(app.json("/health").await, (503, down.clone()));
    assert_eq!(push(&app, "a job").await.0, 503);
    redis.restart().await;
    app.becomes("/health", 200).await;

    redis.freeze();
    shows(&app, 503, down).await;
    let (code, admin) = app.json("/admin/health/redis").await;
    assert_eq!(code, 503);
    assert_eq!(admin["queue_service"]["status"], "disconnected");
    redis.thaw();
    app.becomes("/health", 200).await;
    app.assert_no_password_is_logged();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_demo_mode_memory_replaces_redis_with_warnings() {
    for (variables, why) in [
        (
            &[("DEMO_MODE", "true")][..],
            "Redis validation failed: REDIS_URL environment variable is required\n",
        ),
        (
            &[("DEMO_MODE", "TRUE"), ("REDIS_URL", NOWHERE)],
            "Redis validation failed: cannot connect to Redis at 127.0.0.1:1: refused\n",
        ),
    ] {
        let app = App::start(NAME, variables).await;
        let log = app.program.log();
        let memory = "demo mode: counters and queue are in memory, until this process ends\n";
        for warning in [why, memory] {
            assert!(log.contains(&format!("⚠ {warning}")), "{log}");
        }
        assert!(!log.contains("alice"), "{log}");
        app.assert_no_password_is_logged();
        assert_eq!(push(&app, "one").await.0, 202);
        let expected = json!({
            "status": "healthy", "version": "2.0.0", "environment": "development",
            "redis": {"status": "connected", "backend": "memory"},
            "queue": {"status": "connected", "backend": "memory", "queue_depth": 1},
        });
        shows(&app, 200, expected).await;
        let expected = json!({
            "counter_backend": {"status": "connected", "backend": "memory"},
            "queue_service": {"status": "connected", "backend": "memory", "queue_depth": 1},
            "demo_mode": true,
        });
        assert_eq!(app.json("/admin/health/redis").await, (200, expected));

        let forwarded = Request::get(format!("http://{}/admin/health/redis", app.address));
        let forwarded = forwarded.header("x-forwarded-for", "203.0.113.7");
        let denied = ask(forwarded.body(Full::default()).expect("valid"), None).await;
        assert_eq!((denied.0.as_u16(), &*denied.1), (403, ""));
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
    let health = app.becomes_json("/health", 200).await;
    assert_eq!(health["redis"]["backend"], "redis");
    assert_eq!(health["environment"], "staging");
    redis.kill();
    let health = app.becomes_json("/health", 200).await;
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["redis"]["status"], "disconnected");
}
