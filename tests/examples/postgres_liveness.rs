//! `examples/postgres_liveness.rs` over real servers that are killed, frozen and protected by a password.

use std::os::unix::net::UnixListener;

use tokio::task::spawn_blocking;

use crate::{
    app::{App, PASSWORD, refused},
    support::{MAXIMUM_WAIT, Postgres, Program, wait_until},
};

const NAME: &str = "postgres_liveness";
const HEALTHY: &str = r#"{"status":"healthy"}"#;
const UNHEALTHY: &str = r#"{"status":"unhealthy"}"#;

async fn start(postgres: &Postgres, password: &str) -> App {
    let port = postgres.port().to_string();
    let variables = [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", &port),
        ("POSTGRES_DB", "postgres"),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_PASSWORD", password),
    ];
    App::start(NAME, &variables).await
}

async fn assert_healthy(app: &App) {
    assert_eq!(app.becomes("/health", 200).await, HEALTHY);
}

async fn assert_unhealthy(app: &App) {
    assert_eq!(app.becomes("/health", 503).await, UNHEALTHY);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_server_with_a_password_down_and_up() {
    let mut postgres = Postgres::builder().password(PASSWORD).start().await;
    let app = start(&postgres, PASSWORD).await;
    assert_healthy(&app).await;
    postgres.kill();
    // The first request reports it: no earlier result is returned.
    assert_eq!(app.get("/health").await, (503, UNHEALTHY.to_owned()));
    postgres.restart().await;
    assert_eq!(app.get("/health").await, (200, HEALTHY.to_owned()));
    postgres.freeze();
    assert_unhealthy(&app).await;
    postgres.thaw();
    assert_healthy(&app).await;
    app.assert_no_password_is_logged();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_alert_once_and_recovery_resolves_once() {
    let postgres = Postgres::builder().password("another").start().await;
    let mut app = start(&postgres, PASSWORD).await;
    // Without a probe.
    let alert = app.program.says("ALERT: database failed ").await;
    let failures: u32 = alert
        .split("failed ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .expect("a number");
    assert!(failures >= 3 && alert.contains("auth"), "{alert}");
    assert_unhealthy(&app).await;
    app.program.says(r#"reason="auth""#).await;

    // A check opens at most three connections: seven refusals are three checks.
    let refusals = || postgres.log().matches("authentication failed").count();
    let enough = refusals() + 7;
    wait_until("the app has checked again", MAXIMUM_WAIT, async || {
        refusals() >= enough
    })
    .await;
    let sql = format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'");
    let altered = postgres.client().await.batch_execute(&sql).await;
    altered.expect("altered");
    app.program.says("RESOLVED: database").await;
    assert_healthy(&app).await;
    let log = app.program.log();
    // One event for each transition, whatever the number of checks.
    for event in ["ALERT", "RESOLVED", "dependency is down", "outage_ms="] {
        assert_eq!(log.matches(event).count(), 1, "{event} in {log}");
    }
    app.assert_no_password_is_logged();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_runs_select_1_on_the_apps_own_pool() {
    let postgres = Postgres::builder()
        .setting("log_statement", "all")
        .setting("log_connections", "on")
        .start()
        .await;
    let app = start(&postgres, "").await;
    wait_until("three checks ran", MAXIMUM_WAIT, async || {
        assert_healthy(&app).await;
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
    let variables = [
        ("ADDR", "127.0.0.1:0"),
        ("POSTGRES_HOST", directory.to_str().expect("text")),
        ("POSTGRES_DB", "app"),
        ("POSTGRES_USER", "app"),
    ];
    let _program = Program::example(NAME, &variables);
    let accepted = spawn_blocking(move || socket.accept().expect("a connection"));
    accepted.await.expect("no panic");
}

#[test]
fn a_missing_or_invalid_setting_is_named() {
    for (name, value) in [
        ("POSTGRES_HOST", ""),
        ("POSTGRES_DB", ""),
        ("POSTGRES_USER", ""),
        ("POSTGRES_PORT", "postgres"),
        ("ADDR", "nowhere"),
    ] {
        let settings = [
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_DB", "app"),
            ("POSTGRES_USER", "app"),
            (name, value),
        ];
        assert!(refused(NAME, &settings).contains(name), "{name}");
    }
}
