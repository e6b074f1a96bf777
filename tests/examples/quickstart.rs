//! The demo as a process, with given or private servers.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::support::{Postgres, Redis, example, is_alive, wait_until};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const LIMIT: Duration = Duration::from_secs(30);

struct Quickstart {
    child: Child,
    base: String,
    /// Kept open: a program that prints to a closed pipe ends.
    _output: BufReader<ChildStdout>,
}

impl Quickstart {
    fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_until("/livez", variables)
    }

    /// Starts the demo, and returns once it has printed `part`.
    fn start_until(part: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(example("quickstart"))
            .env_remove("DATABASE_URL")
            .env_remove("REDIS_URL")
            .env("ADDR", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = output.read_line(&mut line).expect("text");
            assert!(read > 0, "the demo ended before it listened");
        }
        let base = line.split("/livez").next().expect("a URL").to_owned();
        Self {
            child,
            base,
            _output: output,
        }
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, http::HeaderMap, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .body(Full::<Bytes>::from("an echo"))
            .expect("valid");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = tokio::time::timeout(LIMIT, client.request(request))
            .await
            .expect("in time")
            .expect("the demo answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        (
            head.status,
            head.headers,
            String::from_utf8(body.to_vec()).expect("text"),
        )
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let (code, _, body) = self.ask(Method::GET, path).await;
        (code, body)
    }

    async fn becomes(&self, path: &str, code: StatusCode) {
        wait_until(&format!("{path} is {code}"), LIMIT, async || {
            self.get(path).await.0 == code
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// The ids of all its descendants.
    fn descendants(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while at < found.len() {
            let path = format!("/proc/{0}/task/{0}/children", found[at]);
            // Each thread has its own children.
            let tasks = fs::read_dir(format!("/proc/{}/task", found[at]));
            let mut children = fs::read_to_string(path).unwrap_or_default();
            for task in tasks.into_iter().flatten().flatten() {
                let more = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                children.push(' ');
                children.push_str(&more);
            }
            for pid in children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
            {
                if !found.contains(&pid) {
                    found.push(pid);
                }
            }
            at += 1;
        }
        found.split_off(1)
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_private_servers_the_demo_serves_and_cleans_up() {
    let mut demo = Quickstart::start(&[("DRAIN_SECONDS", "1")]);
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        demo.becomes(path, StatusCode::OK).await;
    }
    let (_, body) = demo.get("/health").await;
    for part in [
        "database",
        "cache",
        "postgres",
        "redis",
        "\"pool\"",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    let (_, head, body) = demo.ask(Method::HEAD, "/health/database").await;
    assert!(body.is_empty() && head.contains_key(header::CONTENT_LENGTH));
    let (code, head, _) = demo.ask(Method::POST, "/readyz").await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(head[header::ALLOW], "GET, HEAD");
    assert_eq!(demo.get("/health/database").await.0, StatusCode::OK);
    assert_eq!(demo.get("/health/unknown").await.0, StatusCode::NOT_FOUND);
    assert_eq!(demo.ask(Method::POST, "/api/echo").await.2, "an echo");
    assert_eq!(
        demo.get("/").await,
        (StatusCode::OK, r#"{"hits":1,"visits":1}"#.to_owned())
    );

    let processes = demo.descendants();
    assert!(processes.len() >= 2, "two private servers: {processes:?}");
    demo.signal(Signal::SIGTERM);
    demo.becomes("/readyz", StatusCode::SERVICE_UNAVAILABLE)
        .await;
    assert_eq!(demo.get("/livez").await.0, StatusCode::OK);
    let end = tokio::task::block_in_place(|| demo.child.wait()).expect("it is ours");
    assert!(end.success());
    wait_until("the private servers are gone", LIMIT, async || {
        !processes.iter().any(|pid| is_alive(*pid))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_follows_its_servers_down_and_up() {
    let (mut postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    let urls = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
    let urls: Vec<_> = urls
        .iter()
        .map(|(name, url)| (*name, url.as_str()))
        .collect();
    let demo = Quickstart::start(&urls);
    demo.becomes("/readyz", StatusCode::OK).await;
    assert_eq!(demo.get("/").await.0, StatusCode::OK);

    postgres.kill();
    demo.becomes("/health/database", StatusCode::SERVICE_UNAVAILABLE)
        .await;
    demo.becomes("/readyz", StatusCode::SERVICE_UNAVAILABLE)
        .await;
    assert_eq!(demo.get("/livez").await.0, StatusCode::OK);
    assert_eq!(demo.get("/startupz").await.0, StatusCode::OK);
    assert_eq!(demo.get("/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    postgres.restart().await;
    demo.becomes("/readyz", StatusCode::OK).await;

    redis.kill();
    demo.becomes("/health/cache", StatusCode::SERVICE_UNAVAILABLE)
        .await;
    let (_, body) = demo.get("/health/cache").await;
    assert!(body.contains(r#""reason":"refused""#), "{body}");
    redis.restart().await;
    demo.becomes("/readyz", StatusCode::OK).await;
    assert_eq!(demo.get("/").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_servers_down_the_demo_answers_probes() {
    let demo = Quickstart::start(&[
        ("DATABASE_URL", "postgres://app:hunter2@127.0.0.1:1/app"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
    ]);
    assert_eq!(demo.get("/livez").await.0, StatusCode::OK);
    for path in ["/startupz", "/readyz"] {
        assert_eq!(demo.get(path).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    let (code, body) = demo.get("/health").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains(r#""reason":"refused""#), "{body}");
    assert!(!body.contains("hunter2"), "{body}");
}

#[test]
fn a_malformed_url_is_refused_without_its_password() {
    for (name, url) in [
        ("DATABASE_URL", "postgres:/u:hunter2@h"),
        ("REDIS_URL", "http://u:hunter2@h"),
    ] {
        let output = Command::new(example("quickstart"))
            .env("DATABASE_URL", "postgres://u@127.0.0.1:1/d")
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("ADDR", "127.0.0.1:0")
            .env(name, url)
            .output()
            .expect("starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn without_programs_the_demo_names_the_package() {
    // `support` reads this directory; it does not exist.
    let output = Command::new(example("quickstart"))
        .env_remove("DATABASE_URL")
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("TOWER_HEALTH_PG_BIN", "/nonexistent")
        .env("ADDR", "127.0.0.1:0")
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("apt-get install postgresql"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_demo_mode_memory_replaces_a_missing_backend() {
    let demo = Quickstart::start(&[
        ("DEMO_MODE", "true"),
        ("TOWER_HEALTH_PG_BIN", "/nonexistent"),
        ("TOWER_HEALTH_REDIS_BIN", "/nonexistent"),
    ]);
    demo.becomes("/readyz", StatusCode::OK).await;
    for path in ["/health/database", "/health/cache"] {
        let (_, body) = demo.get(path).await;
        assert!(body.contains(r#""backend":"memory""#), "{body}");
    }
    assert_eq!(demo.get("/").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_during_the_start_stops_the_private_servers() {
    // Postgres runs by then, and the demo does not listen yet.
    let variables = [("DRAIN_SECONDS", "0")];
    let mut demo = Quickstart::start_until("private Redis", &variables);
    let processes = demo.descendants();
    assert!(!processes.is_empty(), "Postgres runs");
    demo.signal(Signal::SIGTERM);
    let end = tokio::task::block_in_place(|| demo.child.wait()).expect("it is ours");
    assert!(end.success(), "{end}");
    wait_until("the private servers are gone", LIMIT, async || {
        !processes.iter().any(|pid| is_alive(*pid))
    })
    .await;
}
