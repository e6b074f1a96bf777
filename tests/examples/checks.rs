//! The checks of `examples/checks` on real servers.

use std::{env, fs, path::PathBuf, process::Command};

use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use bb8_redis::redis::cmd;
use tower_health::{Check, Reason};

use crate::{
    answer::{Answer, UP, answer as of_result, degraded, down},
    helpers::server::{listen, serve_axum},
    support::{Postgres, Redis, unused_port},
};

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

async fn answer(check: &impl Check) -> Answer {
    of_result(&check.check().await)
}

#[tokio::test]
async fn http_is_up_on_2xx_only() {
    let app = Router::new()
        .route("/up", get(async || "ok"))
        .route("/long", get(async || vec![0_u8; 65 * 1024]))
        .route("/elsewhere", get(async || Redirect::to("/up")))
        .route("/broken", get(async || StatusCode::BAD_GATEWAY));
    let open = serve_axum(app).await.port();
    for (port, path, expected) in [
        (open, "/up", UP),
        (open, "/long", down(Reason::Protocol)),
        (open, "/elsewhere", down(Reason::Rejected)),
        (open, "/broken", down(Reason::Rejected)),
        (unused_port(), "/up", down(Reason::Refused)),
    ] {
        let uri = format!("http://127.0.0.1:{port}{path}");
        let check = http_check::http(uri.parse().unwrap());
        assert_eq!(answer(&check).await, expected, "{path}");
    }
}

#[tokio::test]
async fn tcp_is_up_where_a_port_is_open() {
    let (_listener, open) = listen().await;
    assert_eq!(answer(&tcp::tcp(open.to_string())).await, UP);
    let closed = format!("127.0.0.1:{}", unused_port());
    let found = answer(&tcp::tcp(closed)).await;
    assert_eq!(found, down(Reason::Refused));
}

#[tokio::test]
async fn a_certificate_is_degraded_before_its_end() {
    let pem = issue(10);
    let check = |days| certificate::certificate(pem.clone(), days);
    assert_eq!(answer(&check(5)).await, UP);
    assert_eq!(answer(&check(20)).await, degraded(Reason::Tls));
    fs::write(&pem, "no certificate").unwrap();
    assert_eq!(answer(&check(5)).await, down(Reason::Misconfigured));
    fs::remove_file(&pem).unwrap();
    assert_eq!(answer(&check(5)).await, down(Reason::NotFound));
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
    let entry = "XADD jobs * a 1";
    for command in ["XGROUP CREATE jobs workers 0 MKSTREAM", entry, entry, entry] {
        let (name, words) = command.split_once(' ').unwrap();
        let mut command = cmd(name);
        command.arg(words.split(' ').collect::<Vec<_>>());
        command.exec_async(&mut connection).await.unwrap();
    }
    let check = |most| stream_lag::stream_lag(pool.clone(), "jobs", most);
    assert_eq!(answer(&check(3)).await, UP);
    assert_eq!(answer(&check(2)).await, degraded(Reason::Behind));
}
