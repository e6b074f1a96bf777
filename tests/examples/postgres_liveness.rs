//! `examples/postgres_liveness.rs` over real servers that are killed, frozen and protected by a password.

use std::os::unix::net::UnixListener;

use crate::{
    app::{App, PASSWORD, refused},
    support::{MAXIMUM_WAIT, Postgres, Program, wait_until},
};

const NAME: &str = "postgres_liveness";
const HEALTHY: &str = r#"{"status":"healthy"}"#;
const UNHEALTHY: &str = r#"{"status":"unhealthy"}"#;

async fn start(postgres: &Postgres) -> App {
    let port = postgres.port().to_string();
    let variables = [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", &port),
        ("POSTGRES_DB", "postgres"),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_PASSWORD", PASSWORD),
    ];
    App::start(NAME, &variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_server_with_a_password_down_and_up() {
    let mut postgres = Postgres::builder()
        .password(PASSWORD)
        .setting("log_statement", "all")
        .setting("log_connections", "on")
        .start()
        .await;
    let connections = || postgres.log().matches("connection authorized").count();
    let before = connections();
    let app = start(&postgres).await;
    wait_until("three checks ran", MAXIMUM_WAIT, async || {
        app.shows("/health", 200, HEALTHY).await;
        postgres.log().matches("; SELECT 1\n").count() >= 3
    })
    .await;
    assert_eq!(connections() - before, 1, "{}", postgres.log());

    postgres.kill();
    // The first request reports it: no earlier result is returned.
    assert_eq!(app.get("/health").await, (503, UNHEALTHY.to_owned()));
    postgres.restart().await;
    assert_eq!(app.get("/health").await, (200, HEALTHY.to_owned()));
    postgres.freeze();
    app.shows("/health", 503, UNHEALTHY).await;
    postgres.thaw();
    app.shows("/health", 200, HEALTHY).await;
    app.drains("/health", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_alert_once_and_recovery_resolves_once() {
    let postgres = Postgres::builder().password("another").start().await;
    let mut app = start(&postgres).await;
    // Without a probe.
    let alert = app.program.says("ALERT: database failed ").await;
    let words: Vec<_> = alert.rsplit(' ').collect();
    // It ends with `failed 3 times in a row: auth`.
    assert_eq!(words[0], "auth", "{alert}");
    assert!(words[5].parse::<u32>().expect("a number") >= 3, "{alert}");
    app.shows("/health", 503, UNHEALTHY).await;
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
    app.shows("/health", 200, HEALTHY).await;
    let log = app.program.log();
    // One event for each transition, whatever the number of checks.
    for event in ["ALERT", "RESOLVED", "dependency is down", "outage_ms="] {
        assert_eq!(log.matches(event).count(), 1, "{event} in {log}");
    }
    app.drains("/health", 200).await;
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
    socket.set_nonblocking(true).expect("a socket");
    let accepts = async || socket.accept().is_ok();
    wait_until("it connects", MAXIMUM_WAIT, accepts).await;
}

#[test]
fn a_missing_or_invalid_setting_is_named() {
    for (name, value, line) in [
        ("POSTGRES_HOST", "", "environment variable is required"),
        ("POSTGRES_DB", "", "environment variable is required"),
        ("POSTGRES_USER", "", "environment variable is required"),
        ("POSTGRES_PORT", "5432 ", "\"5432 \" is not a port"),
        ("ADDR", "nowhere", "nowhere: "),
    ] {
        let settings = [
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_DB", "app"),
            ("POSTGRES_USER", "app"),
            (name, value),
        ];
        let stderr = refused(NAME, &settings);
        assert!(stderr.contains(&format!("{name} {line}")), "{stderr}");
    }
}
