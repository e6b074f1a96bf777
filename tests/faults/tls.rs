//! Postgres over TLS: a pool with a real connector, and handshakes that fail.

use std::{process::Command, sync::Arc};

use crate::support::Postgres;
use bb8_postgres::{
    PostgresConnectionManager,
    tokio_postgres::{
        Config, NoTls, Socket,
        config::SslMode,
        tls::{MakeTlsConnect, TlsConnect},
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tower_health::{Check, Reason, Status, checks};

/// A connector that trusts `roots`.
fn connector(roots: RootCertStore) -> MakeRustlsConnect {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

/// What the check says of a pool whose connections must be encrypted: status and reason.
async fn verdict<T>(mut config: Config, tls: T) -> (Status, Option<Reason>)
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::TlsConnect: Send + Sync,
    T::Stream: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    config.ssl_mode(SslMode::Require).host("localhost");
    let manager = PostgresConnectionManager::new(config, tls);
    let pool = bb8::Pool::builder().max_size(2).build_unchecked(manager);
    match checks::postgres(pool).check().await {
        Ok(outcome) => (outcome.status(), outcome.reason()),
        Err(failure) => (Status::Down, Some(failure.reason())),
    }
}

/// The server by name, since a certificate is for one.
fn by_name(server: &Postgres) -> Config {
    let mut config = Config::new();
    config
        .user("postgres")
        .dbname("postgres")
        .port(server.port());
    config
}

const TLS: (Status, Option<Reason>) = (Status::Down, Some(Reason::Tls));

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_or_the_reason_is_tls() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: the program `openssl` is not installed");
        return;
    }
    let server = Postgres::builder().tls().start().await;
    let untrusted = connector(RootCertStore::empty());
    assert_eq!(verdict(by_name(&server), untrusted).await, TLS);

    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(server.certificate()).expect("a certificate");
    roots.add(certificate).expect("a root");
    let trusted = connector(roots);
    assert_eq!(verdict(by_name(&server), trusted).await, (Status::Up, None));

    // A server that speaks TLS, and a client that does not.
    assert_eq!(verdict(by_name(&server), NoTls).await, TLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_tls_to_whoever_wants_it() {
    let server = Postgres::start().await;
    let any = connector(RootCertStore::empty());
    assert_eq!(verdict(by_name(&server), any).await, TLS);
    assert_eq!(verdict(by_name(&server), NoTls).await, TLS);
}
