//! Access to probes and to details, over real sockets with several addresses of loopback.

use axum::Router;
use tower_health::{
    Access, HealthLayer,
    health::{ConfigWarning, ConfigWarningKind},
};

use crate::helpers::{
    peers::{Fields, health, health_of, sees_details, serve},
    server::listen,
};

const XFF: &str = "x-forwarded-for";

#[tokio::test]
async fn each_rule_decides_over_probes_and_details() {
    let networks = || Access::networks(["127.0.0.5", "127.0.1.0/24"]).expect("valid");
    let bearer = || Access::bearer(["old-token", "new-token"]);
    let badge = || Access::predicate(|head| head.headers().contains_key("x-badge"));
    let panics = || Access::predicate(|_| panic!("a bug of the app"));
    let all = || networks().or(bearer()).or(badge());
    const TOKEN: Fields<'_> = &[("authorization", "Bearer new-token")];
    const WRONG: Fields<'_> = &[("authorization", "Bearer new-toke")];
    const FORWARDED: Fields<'_> = &[(XFF, "127.0.0.5")];
    const VIA: Fields<'_> = &[("via", "1.1 x")];
    const HOST: Fields<'_> = &[("host", "example.org")];
    // Whether the request may probe, and whether it gets details.
    const BOTH: (bool, bool) = (true, true);
    const PROBE: (bool, bool) = (true, false);
    const NEITHER: (bool, bool) = (false, false);
    let table: [(Access, &str, Fields<'_>, (bool, bool)); 17] = [
        (Access::nobody(), "127.0.0.1", &[], NEITHER),
        (Access::everybody(), "127.0.0.9", FORWARDED, BOTH),
        (Access::loopback(), "127.0.0.9", &[], BOTH),
        (Access::loopback(), "127.0.0.1", VIA, NEITHER),
        (Access::loopback(), "127.0.0.1", HOST, PROBE),
        (networks(), "127.0.0.5", HOST, BOTH),
        (networks(), "127.0.0.6", &[], NEITHER),
        (networks(), "127.0.1.200", &[], BOTH),
        // Without a trusted proxy, forwarding headers deny details and grant nothing.
        (networks(), "127.0.0.6", FORWARDED, NEITHER),
        (networks(), "127.0.0.5", FORWARDED, PROBE),
        (bearer(), "127.0.0.1", &[], NEITHER),
        (bearer(), "127.0.0.9", TOKEN, BOTH),
        (bearer(), "127.0.0.1", WRONG, NEITHER),
        (badge(), "127.0.0.1", &[("x-badge", "")], BOTH),
        (panics(), "127.0.0.1", &[], NEITHER),
        (all(), "127.0.0.9", TOKEN, BOTH),
        (all(), "127.0.0.9", WRONG, NEITHER),
    ];
    for (access, source, headers, (may_probe, sees)) in table {
        let case = format!("{access:?} {source} {headers:?}");
        let address = serve(HealthLayer::new(health()).details(access.clone())).await;
        assert_eq!(sees_details(address, source, headers).await, sees, "{case}");
        let address = serve(HealthLayer::new(health()).allow(access)).await;
        let (code, body) = health_of(address, source, headers).await;
        let answer = match may_probe {
            true => (200, r#"{"status":"up"}"#),
            false => (403, ""),
        };
        assert_eq!((code.as_u16(), &*body), answer, "{case}");
    }
}

/// As in the docs of `trusted_proxies`: operators in one network, proxies at two addresses.
#[tokio::test]
async fn only_a_trusted_proxy_names_its_client() {
    let operators = Access::networks(["127.0.5.0/24"])
        .and_then(|access| access.trusted_proxies(["127.0.0.7", "127.0.0.8"]))
        .expect("valid");
    let address = serve(HealthLayer::new(health()).details(operators)).await;
    let (operator, proxy, other) = ("127.0.5.1", "127.0.0.7", "127.0.0.9");
    let table: [(&str, Fields<'_>, bool); 11] = [
        (operator, &[], true),
        (other, &[], false),
        // An untrusted proxy.
        (other, &[(XFF, operator)], false),
        (operator, &[(XFF, operator)], false),
        // A trusted proxy, and two in a row.
        (proxy, &[(XFF, operator)], true),
        (proxy, &[("forwarded", "for=127.0.5.1;proto=https")], true),
        ("127.0.0.8", &[(XFF, operator), (XFF, proxy)], true),
        // The client can write to the left of the proxy's entry.
        (proxy, &[(XFF, "127.0.5.1, 127.0.0.9")], false),
        // Headers that disagree: the proxy may have written one of them only.
        (proxy, &[(XFF, operator), ("x-real-ip", other)], false),
        (proxy, &[(XFF, operator), ("x-real-ip", operator)], true),
        // A proxy that names no client.
        (proxy, &[], false),
    ];
    for (source, headers, expected) in table {
        let sees = sees_details(address, source, headers).await;
        assert_eq!(sees, expected, "{source} {headers:?}");
    }
    let error = Access::loopback().trusted_proxies(["localhost"]);
    let error = error.expect_err("not an address").to_string();
    assert!(error.starts_with("\"localhost\" is "), "{error}");
}

#[tokio::test]
async fn without_a_peer_address_details_are_denied_with_a_warning() {
    let health = health();
    let layer = HealthLayer::new(health.clone()).details(Access::loopback());
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, Router::new().layer(layer)).await });
    assert_eq!(health.warnings(), []);
    for _ in 0..2 {
        assert!(!sees_details(address, "127.0.0.1", &[]).await);
        let warnings = health.warnings();
        let kinds: Vec<_> = warnings.iter().map(ConfigWarning::kind).collect();
        assert_eq!(kinds, [ConfigWarningKind::NoPeerAddress]);
        let text = warnings[0].to_string();
        let remedy = "into_make_service_with_connect_info";
        assert!(text.contains(remedy), "{text}");
    }
}
