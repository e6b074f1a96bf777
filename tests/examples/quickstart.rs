//! The demo as a process, with given or private servers.

use http::Method;
use nix::sys::signal::Signal;

use crate::{
    app::{App, PASSWORD, refused},
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
    let demo = App::start(NAME, &[("DRAIN_SECONDS", "1")]).await;
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
    demo.drains("/readyz", 503).await;
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
    let mut postgres = Postgres::builder().password(PASSWORD).start().await;
    let mut redis = Redis::builder().password(PASSWORD).start().await;
    postgres.kill();
    redis.kill();
    let (database, cache) = (postgres.url(), redis.url());
    let demo = App::start(NAME, &[("DATABASE_URL", &database), ("REDIS_URL", &cache)]).await;
    for (path, code) in [("/livez", 200), ("/startupz", 503), ("/readyz", 503)] {
        assert_eq!(demo.get(path).await.0, code, "{path}");
    }
    postgres.restart().await;
    let down = demo.becomes("/health/cache", 503).await;
    assert!(down.contains(r#""reason":"refused""#), "{down}");
    redis.restart().await;
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
    demo.drains("/readyz", 503).await;
}

#[test]
fn a_start_that_fails_names_the_setting_or_the_package() {
    let (postgres, redis) = ("postgres://u@127.0.0.1:1/d", "redis://127.0.0.1:1");
    for (database, cache, part) in [
        ("postgres:/u:hunter2@h", redis, "DATABASE_URL"),
        (postgres, "http://u:hunter2@h", "REDIS_URL"),
        ("", redis, "apt-get install postgresql"),
    ] {
        // `support` reads this directory; it does not exist.
        let missing = ("TOWER_HEALTH_PG_BIN", "/nonexistent");
        let urls = [("DATABASE_URL", database), ("REDIS_URL", cache), missing];
        let stderr = refused(NAME, &urls);
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
