//! Logins that fail, with their reason and without their secrets, and Postgres over TLS.

use std::sync::Arc;

use bb8_postgres::PostgresConnectionManager;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use tower_health::{Check, CheckResult, Reason, checks};

use crate::{
    app::{UP, answer, assert_run, assert_run_in, down, pool, postgres_pool, redis_pool},
    support::{Postgres, Redis, judged_on_time, unused_port},
};

fn postgres(url: &str) -> impl Check + use<> {
    let config = format!("postgres://{url}").parse().unwrap();
    checks::postgres(postgres_pool(config, 2, true))
}

fn redis(url: &str) -> impl Check + use<> {
    checks::redis(redis_pool(url.to_owned(), 2, true))
}

/// A server that answers everything with HTTP.
async fn http_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    port
}

/// Asserts the reason of two runs, and that their failures name neither secret nor address.
async fn assert_refused(check: impl Check, reason: Reason, url: &str) {
    for _ in 0..2 {
        let is_right = |result: &CheckResult| answer(result) == down(reason);
        let result = judged_on_time(async || check.check().await, is_right).await;
        assert!(is_right(&result), "{url}: {result:?}");
        // The error of the server names user and database.
        let shown = format!("{0} {0:?}", result.unwrap_err());
        let is_secret = shown.contains("secret") || shown.contains("127.0.0.1");
        assert!(!is_secret, "{url}: {shown}");
    }
}

#[tokio::test]
async fn a_failed_login_has_its_reason_and_no_secret() {
    // In clear text: SCRAM keeps a busy machine busy for a whole run.
    let builder = Postgres::builder().hba("host all all all password");
    let database = builder.password("right").start().await;
    let cache = Redis::builder().password("right").start().await;
    let (closed, http) = (unused_port(), http_port().await);
    let with_ports = |url: &str, port: u16| {
        let url = url.replace("HOST", &format!("127.0.0.1:{port}"));
        let url = url.replace("CLOSED", &format!("127.0.0.1:{closed}"));
        url.replace("HTTP", &format!("127.0.0.1:{http}"))
    };
    for (url, reason) in [
        ("postgres:secret@HOST", Reason::Auth),
        ("secret:right@HOST", Reason::Auth),
        ("postgres@HOST", Reason::Auth),
        ("postgres:right@HOST/secret", Reason::NotFound),
        ("postgres:right@HOST?sslmode=require", Reason::Tls),
        // A primary where a read-only server is required.
        (
            "postgres:right@HOST?target_session_attrs=read-only",
            Reason::Mismatch,
        ),
        ("postgres@CLOSED", Reason::Refused),
        ("postgres@HTTP", Reason::Protocol),
    ] {
        let url = with_ports(url, database.port());
        assert_refused(postgres(&url), reason, &url).await;
    }
    for (url, reason) in [
        ("redis://:secret@HOST", Reason::Auth),
        ("redis://secret:right@HOST", Reason::Auth),
        ("redis://HOST", Reason::Auth),
        ("redis://:right@HOST/999", Reason::NotFound),
        ("redis://CLOSED", Reason::Refused),
        ("redis+unix:///no/such/secret", Reason::Refused),
        ("redis://HTTP", Reason::Protocol),
    ] {
        let url = with_ports(url, cache.port());
        assert_refused(redis(&url), reason, &url).await;
    }
    // If the resolver does not answer either, the check cannot tell that from a silent server.
    let no_address = [down(Reason::Dns), down(Reason::Timeout)];
    let host = "no-such-host.invalid";
    assert_run_in(&postgres(&format!("postgres@{host}")), &no_address, host).await;
    assert_run_in(&redis(&format!("redis://{host}")), &no_address, host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_handshake_is_tls_and_a_trusted_one_is_up() {
    let builder = Postgres::builder().tls().hba("hostssl all all all trust");
    let server = builder.start().await;
    let mut trusted = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(server.certificate()).unwrap();
    trusted.add(certificate).unwrap();
    let none = RootCertStore::empty();
    for (mode, roots, expected) in [
        (SslMode::Require, none.clone(), down(Reason::Tls)),
        // The server accepts no other connection.
        (SslMode::Disable, none, down(Reason::Auth)),
        (SslMode::Require, trusted, UP),
    ] {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // By name, which the certificate is for.
        let url = "host=localhost hostaddr=127.0.0.1 user=postgres";
        let mut config: tokio_postgres::Config = url.parse().unwrap();
        config.port(server.port()).ssl_mode(mode);
        let manager = PostgresConnectionManager::new(config, MakeRustlsConnect::new(client));
        let check = checks::postgres(pool(manager, 2, true));
        assert_run(&check, expected, &format!("{mode:?}")).await;
    }
}
