//! `examples/redis_required/` over real servers that are killed, frozen and
//! protected by a password.

use std::thread::scope;

use crate::support::{
    Ended, MAXIMUM_WAIT, Program, Redis, ask, becomes, get, post, run_example, wait_until,
};
use bb8_redis::redis::AsyncCommands;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::block_in_place;

const NAME: &str = "redis_required";
const QUEUE: &str = "redis_required:jobs";
/// Nothing listens on this port.
const NOWHERE: &str = "redis://alice:hunter2@127.0.0.1:1/";

struct App {
    program: Program,
    base: String,
}

impl App {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("ADDR", "127.0.0.1:0")];
        all.extend(variables);
        let mut program = Program::example(NAME, &all);
        let line = program.says("/health").await;
        let at = line.find("http://").expect("a URL");
        let base = line[at..].trim_end_matches("/health").to_owned();
        Self { program, base }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn health(&self) -> (StatusCode, Value) {
        let (code, body) = get(&self.url("/health")).await;
        (code, parsed(&body))
    }

    /// Waits for this response of `/health`: a busy machine may be late.
    async fn shows(&self, code: StatusCode, expected: Value) {
        let expected = (code, expected);
        wait_until(
            &format!("it shows {expected:?}"),
            MAXIMUM_WAIT,
            async || self.health().await == expected,
        )
        .await;
    }

    async fn becomes(&self, code: StatusCode) -> Value {
        parsed(&becomes(&self.url("/health"), code).await)
    }

    async fn push(&self, job: &'static str) -> (StatusCode, String) {
        let request = Request::post(self.url("/jobs"));
        let request = request.body(Full::<Bytes>::from(job)).expect("valid");
        ask(request, None).await
    }
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

fn refused(variables: &[(&str, &str)]) -> Ended {
    let mut all = vec![("ADDR", "127.0.0.1:0")];
    all.extend(variables);
    let ended = run_example(NAME, &all, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for login in ["alice", "hunter2"] {
        assert!(!format!("{ended:?}").contains(login), "{ended:?}");
    }
    ended
}

#[test]
fn without_a_url_the_start_fails() {
    for variables in [&[][..], &[("REDIS_URL", "")], &[("DEMO_MODE", "false")]] {
        let ended = refused(variables);
        let line = "❌ Redis validation failed: REDIS_URL environment variable is required\n";
        assert_eq!(ended.stderr, line, "{ended:?}");
    }
}

#[test]
fn an_invalid_url_mode_or_limit_fails_the_start() {
    let not_url = "❌ Redis validation failed: REDIS_URL is not the URL of a Redis server\n";
    for (name, value, line) in [
        ("REDIS_URL", "http://:hunter2@127.0.0.1", not_url),
        ("REDIS_URL", "hunter2", not_url),
        ("REDIS_URL", "redis://:hunter2@", not_url),
        (
            "DEMO_MODE",
            "perhaps",
            "❌ DEMO_MODE \"perhaps\" is neither true nor false\n",
        ),
        (
            "RATE_LIMIT",
            "few",
            "❌ RATE_LIMIT \"few\" is not a number\n",
        ),
    ] {
        // The later of two values counts, so that a case may have its own URL.
        let ended = refused(&[("REDIS_URL", NOWHERE), (name, value)]);
        assert_eq!(ended.stderr, line, "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_redis_the_start_fails() {
    let frozen = Redis::start().await;
    frozen.freeze();
    let closed = Redis::builder().password("another").start().await;
    let wrong = closed.url().replace("another", "hunter2");
    let replica = Redis::builder()
        .config_line("replicaof 127.0.0.1 1")
        .start()
        .await;
    let without_password = closed.url().replace(":another@", "");
    let refuses = |url: &str, reason: &str| {
        let ended = refused(&[("REDIS_URL", url)]);
        let server = url.rsplit(['@', '/']).nth(1).expect("a port");
        let line =
            format!("❌ Redis validation failed: cannot connect to Redis at {server}: {reason}");
        let is_expected = |printed: &str| printed.starts_with(&line);
        assert!(ended.stderr.lines().any(is_expected), "{line} in {ended:?}");
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
async fn each_validated_step_prints_one_line() {
    let redis = Redis::builder().password("hunter2").start().await;
    let app = App::start(&[("REDIS_URL", &redis.url())]).await;
    let log = app.program.log();
    let steps: Vec<_> = log.lines().filter(|line| line.starts_with("✓ ")).collect();
    for (step, part) in [
        "REDIS_URL: 127.0.0.1:",
        "Redis: connected",
        "counter backend: redis",
        "queue service: redis, queue_depth 0",
        "listening",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(steps[step].contains(part), "{part} in {steps:?}");
    }
    assert_eq!(steps.len(), 5, "{log}");
    assert!(!log.contains("hunter2") && !log.contains('⚠'), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limiter_and_queue_are_in_redis_and_shown_by_health() {
    let redis = Redis::start().await;
    let app = App::start(&[
        ("REDIS_URL", &*redis.url()),
        ("RATE_LIMIT", "2"),
        ("ENVIRONMENT", "production"),
    ])
    .await;
    // As bytes: the order is part of the contract.
    let body = becomes(&app.url("/health"), StatusCode::OK).await;
    let status = r#"{"status":"healthy","version":"2.0.0","environment":"production","#;
    let redis_and_queue = r#""redis":{"status":"connected","backend":"redis"},"queue":{"status":"connected","backend":"redis","queue_depth":0}}"#;
    assert_eq!(body, format!("{status}{redis_and_queue}"));
    let body = becomes(&app.url("/admin/health/redis"), StatusCode::OK).await;
    let counter = r#"{"counter_backend":{"status":"connected","backend":"redis"},"#;
    let queue = r#""queue_service":{"status":"connected","backend":"redis","queue_depth":0},"demo_mode":false}"#;
    assert_eq!(body, format!("{counter}{queue}"));

    assert_eq!(app.push("one").await.0, StatusCode::ACCEPTED);
    let second = (StatusCode::ACCEPTED, r#"{"queue_depth":2}"#.to_owned());
    assert_eq!(app.push("two").await, second);
    assert_eq!(app.push("three").await.0, StatusCode::TOO_MANY_REQUESTS);
    let mut connection = redis.connection().await;
    let jobs: Vec<String> = connection.lrange(QUEUE, 0, -1).await.expect("a list");
    assert_eq!(jobs, ["one", "two"]);
    let count: u64 = connection
        .get("redis_required:count:127.0.0.1")
        .await
        .expect("a count");
    assert_eq!(count, 3);
    let ends: i64 = connection
        .ttl("redis_required:count:127.0.0.1")
        .await
        .expect("an end");
    assert!((1..=60).contains(&ends), "{ends}");

    // Another instance shares the queue: its job is counted, too.
    let _: u64 = connection.rpush(QUEUE, "other").await.expect("pushed");
    let body = becomes(&app.url("/admin/health/redis"), StatusCode::OK).await;
    let expected = json!({
        "counter_backend": {"status": "connected", "backend": "redis"},
        "queue_service": {"status": "connected", "backend": "redis", "queue_depth": 3},
        "demo_mode": false,
    });
    assert_eq!(parsed(&body), expected);
    for job in ["one", "two", "other"] {
        let next = post(&app.url("/jobs/next")).await;
        assert_eq!(next, (StatusCode::OK, job.to_owned()));
    }
    let next = post(&app.url("/jobs/next")).await;
    assert_eq!(next.0, StatusCode::NO_CONTENT);
    assert_eq!(app.health().await.1["queue"]["queue_depth"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_or_frozen_is_503_until_it_recovers() {
    let mut redis = Redis::builder().password("hunter2").start().await;
    let variables = [("REDIS_URL", &*redis.url()), ("ENVIRONMENT", "production")];
    let app = App::start(&variables).await;
    let down = json!({
        "status": "unhealthy", "version": "2.0.0", "environment": "production",
        "redis": {"status": "disconnected", "backend": "redis"},
        "queue": {"status": "disconnected", "backend": "redis", "queue_depth": null},
    });
    redis.kill();
    // The first request reports it: no earlier result is returned.
    assert_eq!(
        app.health().await,
        (StatusCode::SERVICE_UNAVAILABLE, down.clone())
    );
    assert_eq!(app.push("a job").await.0, StatusCode::SERVICE_UNAVAILABLE);
    redis.restart().await;
    app.becomes(StatusCode::OK).await;

    redis.freeze();
    app.shows(StatusCode::SERVICE_UNAVAILABLE, down).await;
    let (code, admin) = get(&app.url("/admin/health/redis")).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(parsed(&admin)["queue_service"]["status"], "disconnected");
    redis.thaw();
    app.becomes(StatusCode::OK).await;
    assert!(!app.program.log().contains("hunter2"));
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
        let app = App::start(variables).await;
        let log = app.program.log();
        let memory = "demo mode: counters and queue are in memory, until this process ends\n";
        for warning in [why, memory] {
            assert!(log.contains(&format!("⚠ {warning}")), "{log}");
        }
        assert!(!log.contains("hunter2") && !log.contains("alice"), "{log}");
        assert_eq!(app.push("one").await.0, StatusCode::ACCEPTED);
        let expected = json!({
            "status": "healthy", "version": "2.0.0", "environment": "development",
            "redis": {"status": "connected", "backend": "memory"},
            "queue": {"status": "connected", "backend": "memory", "queue_depth": 1},
        });
        app.shows(StatusCode::OK, expected).await;
        let (code, admin) = get(&app.url("/admin/health/redis")).await;
        assert_eq!(code, StatusCode::OK);
        let expected = json!({
            "counter_backend": {"status": "connected", "backend": "memory"},
            "queue_service": {"status": "connected", "backend": "memory", "queue_depth": 1},
            "demo_mode": true,
        });
        assert_eq!(parsed(&admin), expected);
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
    let app = App::start(&variables).await;
    let health = app.becomes(StatusCode::OK).await;
    assert_eq!(health["redis"]["backend"], "redis");
    assert_eq!(health["environment"], "staging");
    redis.kill();
    let health = app.becomes(StatusCode::OK).await;
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["redis"]["status"], "disconnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_request_is_denied_at_the_admin_path() {
    let app = App::start(&[("DEMO_MODE", "true")]).await;
    let request =
        Request::get(app.url("/admin/health/redis")).header("x-forwarded-for", "203.0.113.7");
    let request = request.body(Full::default()).expect("valid");
    assert_eq!(
        ask(request, None).await,
        (StatusCode::FORBIDDEN, String::new())
    );
}
