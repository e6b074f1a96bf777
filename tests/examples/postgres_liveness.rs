//! `examples/postgres_liveness.rs` over real servers that are killed, frozen and protected by a password.

use std::{os::unix::net::UnixListener, path::Path};

use crate::support::{MAXIMUM_WAIT, Postgres, Program, becomes, get, run_example, wait_until};
use http::StatusCode;
use tokio::task::spawn_blocking;

const NAME: &str = "postgres_liveness";
const HEALTHY: &str = r#"{"status":"healthy"}"#;
const UNHEALTHY: &str = r#"{"status":"unhealthy"}"#;

struct App {
    program: Program,
    url: String,
}

impl App {
    async fn start(postgres: &Postgres, password: Option<&str>) -> Self {
        let port = postgres.port().to_string();
        let mut variables = vec![
            ("ADDR", "127.0.0.1:0"),
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_PORT", &port),
            ("POSTGRES_DB", "postgres"),
            ("POSTGRES_USER", "postgres"),
        ];
        variables.extend(password.map(|password| ("POSTGRES_PASSWORD", password)));
        let mut program = Program::example(NAME, &variables);
        let url = program.says("/health").await;
        Self { program, url }
    }

    async fn is_healthy(&self) {
        assert_eq!(becomes(&self.url, StatusCode::OK).await, HEALTHY);
    }

    async fn is_unhealthy(&self) {
        let code = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(becomes(&self.url, code).await, UNHEALTHY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_server_with_a_password_down_and_up() {
    let mut postgres = Postgres::builder().password("hunter2").start().await;
    let app = App::start(&postgres, Some("hunter2")).await;
    app.is_healthy().await;
    postgres.kill();
    // The first request reports it: no earlier result is returned.
    let unhealthy = (StatusCode::SERVICE_UNAVAILABLE, UNHEALTHY.to_owned());
    assert_eq!(get(&app.url).await, unhealthy);
    postgres.restart().await;
    assert_eq!(get(&app.url).await, (StatusCode::OK, HEALTHY.to_owned()));
    assert!(!app.program.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_unhealthy_until_it_thaws() {
    let postgres = Postgres::start().await;
    let app = App::start(&postgres, None).await;
    app.is_healthy().await;
    postgres.freeze();
    app.is_unhealthy().await;
    postgres.thaw();
    app.is_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_unhealthy_and_not_logged() {
    let postgres = Postgres::builder().password("hunter2").start().await;
    let mut app = App::start(&postgres, Some("letmein1")).await;
    app.is_unhealthy().await;
    // The log says what it is.
    app.program.says(r#"reason="auth""#).await;
    assert!(!app.program.log().contains("letmein1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_alert_once_and_recovery_resolves_once() {
    let postgres = Postgres::builder().password("hunter2").start().await;
    let mut app = App::start(&postgres, Some("letmein1")).await;
    // Without a probe.
    let alert = app.program.says("ALERT: database failed ").await;
    let failures: u32 = alert
        .split("failed ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .expect("a number");
    assert!(failures >= 3 && alert.contains("auth"), "{alert}");

    // A check opens at most three connections: seven refusals are three checks.
    let refusals = || postgres.log().matches("authentication failed").count();
    let enough = refusals() + 7;
    wait_until("the app has checked again", MAXIMUM_WAIT, async || {
        refusals() >= enough
    })
    .await;
    let client = postgres.client().await;
    let altered = client.batch_execute("ALTER ROLE postgres PASSWORD 'letmein1'");
    altered.await.expect("altered");
    app.program.says("RESOLVED: database").await;
    app.is_healthy().await;
    let log = app.program.log();
    assert_eq!(log.matches("ALERT").count(), 1, "{log}");
    assert_eq!(log.matches("RESOLVED").count(), 1, "{log}");
    // One event for each transition, whatever the number of checks.
    assert_eq!(log.matches("dependency is down").count(), 1, "{log}");
    assert_eq!(log.matches("outage_ms=").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_runs_select_1_on_the_apps_own_pool() {
    let postgres = Postgres::builder()
        .setting("log_statement", "all")
        .setting("log_connections", "on")
        .start()
        .await;
    let app = App::start(&postgres, None).await;
    wait_until("three checks ran", MAXIMUM_WAIT, async || {
        app.is_healthy().await;
        postgres.log().matches("; SELECT 1\n").count() >= 3
    })
    .await;
    let connections = postgres.log().matches("connection authorized").count();
    assert_eq!(connections, 1, "the one in the pool: {}", postgres.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_port_is_5432() {
    // A directory of our own: the socket's name in it ends with the port.
    let postgres = Postgres::start().await;
    let directory = postgres.directory();
    let socket = UnixListener::bind(directory.join(".s.PGSQL.5432")).expect("binds");
    let _program = Program::example(
        NAME,
        &[
            ("ADDR", "127.0.0.1:0"),
            ("POSTGRES_HOST", path(directory)),
            ("POSTGRES_DB", "app"),
            ("POSTGRES_USER", "app"),
        ],
    );
    spawn_blocking(move || socket.accept().expect("a connection"))
        .await
        .expect("no panic");
}

#[test]
fn a_missing_or_invalid_setting_is_named() {
    let variables = [
        ("ADDR", "127.0.0.1:0"),
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_DB", "app"),
        ("POSTGRES_USER", "app"),
    ];
    for (name, value) in [
        ("POSTGRES_HOST", ""),
        ("POSTGRES_DB", ""),
        ("POSTGRES_USER", ""),
        ("POSTGRES_PORT", "postgres"),
        ("ADDR", "nowhere"),
    ] {
        let with_fault: Vec<_> = variables.into_iter().chain([(name, value)]).collect();
        let ended = run_example(NAME, &with_fault, &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(name), "{ended:?}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}
