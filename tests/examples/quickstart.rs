//! The demo as a process, with given or private servers.

use http::Method;
use nix::sys::signal::Signal;

use crate::{
    app::{App, refused},
    support::{MAXIMUM_WAIT, Postgres, Program, Redis, is_alive, wait_until},
};

const NAME: &str = "quickstart";

async fn until_gone(processes: &[i32]) {
    wait_until("the private servers are gone", MAXIMUM_WAIT, async || {
        !processes.iter().any(|id| is_alive(*id))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_private_servers_the_demo_serves_and_cleans_up() {
    let mut demo = App::start(NAME, &[("DRAIN_SECONDS", "1")]).await;
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        demo.becomes(path, 200).await;
    }
    let (_, health) = demo.json("/health").await;
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    for (name, kind) in [("database", "postgres"), ("cache", "redis")] {
        let entry = &health["checks"][name];
        assert_eq!(entry["kind"], kind, "{entry}");
        assert!(entry["pool"].is_object(), "{entry}");
    }
    let echo = demo.send(Method::POST, "/api/echo", "an echo").await;
    assert_eq!(echo, (200, "an echo".to_owned()));
    let counted = (200, r#"{"hits":1,"visits":1}"#.to_owned());
    assert_eq!(demo.get("/").await, counted);

    let processes = demo.program.descendants();
    assert!(processes.len() >= 2, "two private servers: {processes:?}");
    demo.program.signal(Signal::SIGTERM);
    demo.becomes("/readyz", 503).await;
    assert_eq!(demo.get("/livez").await.0, 200);
    assert!(demo.program.ends().await.success());
    until_gone(&processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_ended_early_leaves_no_server() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut demo = Program::example(NAME, &[("DRAIN_SECONDS", "0")]);
        // Postgres runs by then, and the demo does not listen yet.
        demo.says("private Redis").await;
        let processes = demo.descendants();
        assert!(!processes.is_empty(), "Postgres runs");
        demo.signal(signal);
        assert_eq!(demo.ends().await.success(), signal == Signal::SIGTERM);
        until_gone(&processes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_follows_its_servers_down_and_up() {
    let (mut postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    let urls = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
    let demo = App::start(NAME, &urls.each_ref().map(|(name, url)| (*name, &**url))).await;
    demo.becomes("/readyz", 200).await;
    assert_eq!(demo.get("/").await.0, 200);

    postgres.kill();
    demo.becomes("/health/database", 503).await;
    demo.becomes("/readyz", 503).await;
    for (path, code) in [("/livez", 200), ("/startupz", 200), ("/", 503)] {
        assert_eq!(demo.get(path).await.0, code, "{path}");
    }
    postgres.restart().await;
    demo.becomes("/readyz", 200).await;

    redis.kill();
    let cache = demo.becomes("/health/cache", 503).await;
    assert!(cache.contains(r#""reason":"refused""#), "{cache}");
    redis.restart().await;
    demo.becomes("/readyz", 200).await;
    assert_eq!(demo.get("/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_servers_down_the_demo_answers_probes() {
    let urls = [
        ("DATABASE_URL", "postgres://app:hunter2@127.0.0.1:1/app"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
    ];
    let demo = App::start(NAME, &urls).await;
    assert_eq!(demo.get("/livez").await.0, 200);
    for path in ["/startupz", "/readyz"] {
        assert_eq!(demo.get(path).await.0, 503);
    }
    let (code, body) = demo.get("/health").await;
    assert_eq!(code, 503);
    assert!(body.contains(r#""reason":"refused""#), "{body}");
    assert!(!body.contains("hunter2"), "{body}");
    demo.assert_no_password_is_logged();
}

#[test]
fn a_start_that_fails_names_the_setting_or_the_package() {
    let urls = [
        ("DATABASE_URL", "postgres://u@127.0.0.1:1/d"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ];
    for (variables, part) in [
        (
            &[("DATABASE_URL", "postgres:/u:hunter2@h")][..],
            "DATABASE_URL",
        ),
        (&[("REDIS_URL", "http://u:hunter2@h")], "REDIS_URL"),
        // `support` reads this directory; it does not exist.
        (
            &[
                ("DATABASE_URL", ""),
                ("TOWER_HEALTH_PG_BIN", "/nonexistent"),
            ],
            "apt-get install postgresql",
        ),
    ] {
        let stderr = refused(NAME, &[&urls[..], variables].concat());
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_demo_mode_memory_replaces_a_missing_backend() {
    let variables = [
        ("DEMO_MODE", "true"),
        ("TOWER_HEALTH_PG_BIN", "/nonexistent"),
        ("TOWER_HEALTH_REDIS_BIN", "/nonexistent"),
    ];
    let demo = App::start(NAME, &variables).await;
    demo.becomes("/readyz", 200).await;
    for path in ["/health/database", "/health/cache"] {
        let (_, body) = demo.get(path).await;
        assert!(body.contains(r#""backend":"memory""#), "{body}");
    }
    assert_eq!(demo.get("/").await.0, 200);
}
