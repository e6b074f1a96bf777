//! Whom a trusted proxy speaks for, over real sockets, and with a real proxy.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use crate::helpers::peers::{Fields, health, sees_details, serve};
use crate::support::{Program, installed, unused_port, wait_until};
use tower_health::{Access, HealthLayer};

const PATIENCE: Duration = Duration::from_secs(20);

/// As in the docs of `trusted_proxies`: operators in one network, behind proxies at two addresses.
async fn behind_proxies() -> SocketAddr {
    let operators = Access::networks(["127.0.5.0/24"])
        .and_then(|access| access.trusted_proxies(["127.0.0.7", "127.0.0.8"]))
        .expect("valid");
    serve(HealthLayer::new(health()).details(operators)).await
}

#[tokio::test]
async fn only_a_trusted_proxy_speaks_for_its_client() {
    let address = behind_proxies().await;
    let operator = "127.0.5.1";
    let table: &[(&str, Fields<'_>, bool)] = &[
        // Without a proxy.
        (operator, &[], true),
        ("127.0.0.9", &[], false),
        // A stranger that says it was one.
        ("127.0.0.9", &[("x-forwarded-for", operator)], false),
        ("127.0.0.9", &[("forwarded", "for=127.0.5.1")], false),
        // The proxy for its clients.
        ("127.0.0.7", &[("x-forwarded-for", operator)], true),
        (
            "127.0.0.8",
            &[("forwarded", "for=127.0.5.1;proto=https")],
            true,
        ),
        ("127.0.0.7", &[("x-forwarded-for", "127.0.0.9")], false),
        ("127.0.0.7", &[], false),
        // Through both.
        (
            "127.0.0.8",
            &[("x-forwarded-for", "127.0.5.1, 127.0.0.7")],
            true,
        ),
        (
            "127.0.0.8",
            &[
                ("x-forwarded-for", "127.0.5.1"),
                ("x-forwarded-for", "127.0.0.7"),
            ],
            true,
        ),
        // What a stranger wrote stands to the left of what the proxy did.
        (
            "127.0.0.7",
            &[("x-forwarded-for", "127.0.5.1, 127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[
                ("x-forwarded-for", "127.0.5.1"),
                ("x-forwarded-for", "127.0.0.9"),
            ],
            false,
        ),
        (
            "127.0.0.7",
            &[("forwarded", "for=127.0.5.1, for=127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[
                ("forwarded", "for=127.0.5.1;x=\""),
                ("forwarded", "for=127.0.0.9"),
            ],
            false,
        ),
        // Two headers that disagree, one of which the proxy may not have written.
        (
            "127.0.0.7",
            &[
                ("x-forwarded-for", "127.0.0.9"),
                ("forwarded", "for=127.0.5.1"),
            ],
            false,
        ),
        (
            "127.0.0.7",
            &[
                ("x-forwarded-for", operator),
                ("forwarded", "for=127.0.0.9"),
            ],
            false,
        ),
        // Headers that are nobody's standard.
        ("127.0.0.7", &[("x-real-ip", operator)], false),
        ("127.0.0.7", &[("x-forwarded-for", "unknown")], false),
        ("127.0.0.7", &[("x-forwarded-for", "127.0.5.1 ")], true),
        (
            "127.0.0.7",
            &[("x-forwarded-for", "::ffff:127.0.5.1")],
            true,
        ),
    ];
    for (source, headers, expected) in table {
        let seen = sees_details(address, source, headers).await;
        assert_eq!(seen, *expected, "{source} {headers:?}");
    }
}

const HAPROXY: &str = "\
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  option forwardfor
frontend probes
  bind \"${LISTEN}\"
  default_backend app
backend app
  source 127.0.0.7
  server app \"${APP}\"
";

/// The proxy's own words, not ours for it.
#[tokio::test]
async fn a_real_proxy_speaks_for_its_clients_and_not_for_their_lies() {
    let app = behind_proxies().await;
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("access-haproxy.cfg");
    fs::write(&config, HAPROXY).expect("writes");
    let listen = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    let mut command = Command::new(installed("haproxy"));
    command
        .args([Path::new("-db"), Path::new("-f"), &config])
        .env("LISTEN", listen.to_string())
        .env("APP", app.to_string());
    let _haproxy = Program::start("haproxy", &mut command);
    wait_until("haproxy listens", PATIENCE, async || {
        tokio::net::TcpStream::connect(listen).await.is_ok()
    })
    .await;
    assert!(sees_details(listen, "127.0.5.1", &[]).await);
    assert!(!sees_details(listen, "127.0.0.9", &[]).await);
    let lie = [("x-forwarded-for", "127.0.5.1")];
    assert!(!sees_details(listen, "127.0.0.9", &lie).await);
    // From the proxy's own address, but past it.
    assert!(!sees_details(app, "127.0.0.7", &[]).await);
}
