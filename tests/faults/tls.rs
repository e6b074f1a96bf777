//! Postgres over TLS: a pool with a real connector, and handshakes that fail.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::{
    Config, NoTls, Socket,
    config::SslMode,
    tls::{MakeTlsConnect, TlsConnect},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tower_health::{Reason, checks};

use crate::{
    app::{Answer, UP, down, pool, run},
    support::{Postgres, judged_on_time},
};

/// A connector that trusts `roots`.
fn connector(roots: RootCertStore) -> MakeRustlsConnect {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

async fn assert_found<T>(server: &Postgres, mode: SslMode, tls: T, expected: Answer)
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::TlsConnect: Send + Sync,
    T::Stream: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    // By name, which the certificate is for.
    let mut config = Config::new();
    config
        .host("localhost")
        .hostaddr([127, 0, 0, 1].into())
        .user("postgres")
        .port(server.port())
        .ssl_mode(mode);
    let manager = bb8_postgres::PostgresConnectionManager::new(config, tls);
    let check = checks::postgres(pool(manager, 2, true));
    let found = judged_on_time(async || run(&check).await, |found| *found == expected).await;
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_handshake_is_tls_and_a_trusted_one_is_up() {
    let server = Postgres::builder()
        .tls()
        .hba("hostssl all all all trust")
        .start()
        .await;
    let tls = down(Reason::Tls);
    let none = || connector(RootCertStore::empty());
    assert_found(&server, SslMode::Require, none(), tls).await;
    assert_found(&server, SslMode::Require, NoTls, tls).await;
    // The server accepts no other connection.
    assert_found(&server, SslMode::Disable, NoTls, down(Reason::Auth)).await;

    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(server.certificate()).expect("a certificate");
    roots.add(certificate).expect("a root");
    assert_found(&server, SslMode::Require, connector(roots), UP).await;

    let without_tls = Postgres::start().await;
    assert_found(&without_tls, SslMode::Require, none(), tls).await;
    assert_found(&without_tls, SslMode::Require, NoTls, tls).await;
}
