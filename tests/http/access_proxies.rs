//! The client address behind trusted proxies, over real sockets.

use std::net::SocketAddr;

use crate::helpers::peers::{Fields, health, sees_details, serve};
use tower_health::{Access, HealthLayer};

/// As in the docs of `trusted_proxies`: operators in one network, behind proxies at two addresses.
async fn behind_proxies() -> SocketAddr {
    let operators = Access::networks(["127.0.5.0/24"])
        .and_then(|access| access.trusted_proxies(["127.0.0.7", "127.0.0.8"]))
        .expect("valid");
    serve(HealthLayer::new(health()).details(operators)).await
}

#[tokio::test]
async fn only_a_trusted_proxy_names_its_client() {
    let address = behind_proxies().await;
    let operator = "127.0.5.1";
    let table: &[(&str, Fields<'_>, bool)] = &[
        // Without a proxy.
        (operator, &[], true),
        ("127.0.0.9", &[], false),
        // A caller that pretends to be one, and an operator behind a proxy that is not trusted.
        ("127.0.0.9", &[("x-forwarded-for", operator)], false),
        ("127.0.0.9", &[("forwarded", "for=127.0.5.1")], false),
        (operator, &[("x-forwarded-for", operator)], false),
        (operator, &[("x-forwarded-proto", "https")], false),
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
        // The client writes to the left of the proxy.
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
        // A proxy that overwrites `x-real-ip`, and passes a forged list on.
        ("127.0.0.7", &[("x-real-ip", operator)], true),
        ("127.0.0.7", &[("x-real-ip", "127.0.0.9")], false),
        (
            "127.0.0.7",
            &[("x-real-ip", "127.0.0.9"), ("x-forwarded-for", operator)],
            false,
        ),
        (
            "127.0.0.7",
            &[("x-real-ip", operator), ("x-forwarded-for", "127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[("x-real-ip", operator), ("x-forwarded-for", operator)],
            true,
        ),
        // A proxy that names no client.
        ("127.0.0.7", &[("x-forwarded-proto", "https")], false),
        ("127.0.0.7", &[("via", "1.1 proxy")], false),
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
