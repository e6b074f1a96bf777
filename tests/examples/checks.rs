//! The checks of `examples/checks` on real servers.

use std::{env, fs, path::PathBuf, process::Command};

use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use bb8_redis::redis::cmd;
use tokio::net::TcpListener;
use tower_health::{Check, Reason, Status};

use crate::support::{Postgres, Redis, unused_port};

#[path = "../../examples/checks/certificate.rs"]
mod certificate;
#[path = "../../examples/checks/disk.rs"]
mod disk;
#[path = "../../examples/checks/http.rs"]
mod http_check;
#[path = "../../examples/checks/schema.rs"]
mod schema;
#[path = "../../examples/checks/stream_lag.rs"]
mod stream_lag;
#[path = "../../examples/checks/tcp.rs"]
mod tcp;

type Answer = (Status, Option<Reason>);

const UP: Answer = (Status::Up, None);

fn down(reason: Reason) -> Answer {
    (Status::Down, Some(reason))
}

async fn answer(check: &impl Check) -> Answer {
    match check.check().await {
        Ok(outcome) => (outcome.status(), outcome.reason()),
        Err(failure) => down(failure.reason()),
    }
}

#[tokio::test]
async fn http_is_up_on_2xx_only() {
    let app = Router::new()
        .route("/up", get(async || "ok"))
        .route("/long", get(async || vec![0_u8; 65 * 1024]))
        .route("/elsewhere", get(async || Redirect::to("/up")))
        .route("/broken", get(async || StatusCode::BAD_GATEWAY));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, app).await });
    let at = |port: u16, path: &str| {
        let uri = format!("http://127.0.0.1:{port}{path}");
        http_check::http(uri.parse().unwrap())
    };
    for (path, expected) in [
        ("/up", UP),
        ("/long", down(Reason::Protocol)),
        ("/elsewhere", down(Reason::Rejected)),
        ("/broken", down(Reason::Rejected)),
    ] {
        assert_eq!(answer(&at(port, path)).await, expected, "{path}");
    }
    let closed = at(unused_port(), "/up");
    assert_eq!(answer(&closed).await, down(Reason::Refused));
}

#[tokio::test]
async fn tcp_is_up_where_a_port_is_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap().to_string();
    assert_eq!(answer(&tcp::tcp(open)).await, UP);
    let closed = format!("127.0.0.1:{}", unused_port());
    let found = answer(&tcp::tcp(closed)).await;
    assert_eq!(found, down(Reason::Refused));
}

#[tokio::test]
async fn a_certificate_is_degraded_before_its_end() {
    let pem = issue(10);
    let check = |days| certificate::certificate(pem.clone(), days);
    assert_eq!(answer(&check(5)).await, UP);
    let soon = (Status::Degraded, Some(Reason::Tls));
    assert_eq!(answer(&check(20)).await, soon);
    fs::write(&pem, "no certificate").unwrap();
    assert_eq!(answer(&check(5)).await, down(Reason::Misconfigured));
    fs::remove_file(&pem).unwrap();
    assert_eq!(answer(&check(5)).await.0, Status::Down);
}

/// A self-signed certificate that is valid for `days`.
fn issue(days: u32) -> PathBuf {
    let path = env::temp_dir().join(format!("certificate-{}.pem", std::process::id()));
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=app".split(' '),
        )
        .args(["-keyout", "/dev/null", "-days", &days.to_string(), "-out"])
        .arg(&path)
        .output()
        .expect("openssl (package openssl) starts");
    assert!(made.status.success(), "{made:?}");
    path
}

#[tokio::test]
async fn a_full_disk_is_down() {
    let check = |bytes| disk::free_space(env::temp_dir(), bytes);
    assert_eq!(answer(&check(1)).await, UP);
    let full = answer(&check(u64::MAX)).await;
    assert_eq!(full, down(Reason::Exhausted));
}

#[tokio::test]
async fn a_schema_past_the_version_is_up() {
    let server = Postgres::start().await;
    let sql = "CREATE TABLE _sqlx_migrations (version bigint, success boolean);
               INSERT INTO _sqlx_migrations VALUES (7, true), (8, true), (9, false)";
    server.client().await.batch_execute(sql).await.unwrap();
    let pool = server.pool(1);
    for (version, expected) in [(7, UP), (8, UP), (9, down(Reason::Mismatch))] {
        let check = schema::schema(pool.clone(), version);
        assert_eq!(answer(&check).await, expected, "{version}");
    }
}

#[tokio::test]
async fn a_stream_that_is_read_late_is_degraded() {
    let server = Redis::start().await;
    let pool = server.pool(1);
    let mut connection = server.connection().await;
    for command in [
        "XGROUP CREATE jobs workers 0 MKSTREAM",
        "XADD jobs * a 1",
        "XADD jobs * a 2",
        "XADD jobs * a 3",
    ] {
        let (name, words) = command.split_once(' ').unwrap();
        let mut command = cmd(name);
        command.arg(words.split(' ').collect::<Vec<_>>());
        command.exec_async(&mut connection).await.unwrap();
    }
    let check = |most| stream_lag::stream_lag(pool.clone(), "jobs", most);
    assert_eq!(answer(&check(3)).await, UP);
    let behind = (Status::Degraded, Some(Reason::Behind));
    assert_eq!(answer(&check(2)).await, behind);
}
