//! Access to probes and to details, over real sockets with several addresses of loopback.

use axum::Router;
use http::StatusCode;
use tower_health::{
    Access, HealthLayer,
    health::{ConfigWarning, ConfigWarningKind},
};

use super::server::serve_axum;
use crate::helpers::peers::{Fields, health, health_of, sees_details, serve};

#[tokio::test]
async fn each_rule_decides_over_probes_and_details() {
    let networks = || Access::networks(["127.0.0.5", "127.0.1.0/24"]).expect("valid");
    let bearer = || Access::bearer(["old-token", "new-token"]);
    let badge = || Access::predicate(|head| head.headers().contains_key("x-badge"));
    let panics = || Access::predicate(|_| panic!("a bug of the app"));
    let all = || networks().or(bearer()).or(badge());
    const NEW: &[(&str, &str)] = &[("authorization", "Bearer new-token")];
    const OLD: &[(&str, &str)] = &[("authorization", "bearer old-token")];
    const WRONG: &[(&str, &str)] = &[("authorization", "Bearer new-toke")];
    const BADGE: &[(&str, &str)] = &[("x-badge", "")];
    const FORWARDED: &[(&str, &str)] = &[("x-forwarded-for", "127.0.0.5")];
    const VIA: &[(&str, &str)] = &[("via", "1.1 x")];
    const HOST: &[(&str, &str)] = &[("host", "example.org")];
    // Whether the request may probe, and whether it gets details.
    const BOTH: (bool, bool) = (true, true);
    const PROBE: (bool, bool) = (true, false);
    const NEITHER: (bool, bool) = (false, false);
    let table: [(Access, &str, Fields<'_>, (bool, bool)); 21] = [
        (Access::nobody(), "127.0.0.1", &[], NEITHER),
        (Access::everybody(), "127.0.0.9", FORWARDED, BOTH),
        (Access::loopback(), "127.0.0.9", &[], BOTH),
        (Access::loopback(), "127.0.0.1", FORWARDED, NEITHER),
        (Access::loopback(), "127.0.0.1", VIA, NEITHER),
        (Access::loopback(), "127.0.0.1", HOST, PROBE),
        (networks(), "127.0.0.5", &[], BOTH),
        (networks(), "127.0.0.5", HOST, BOTH),
        (networks(), "127.0.0.6", &[], NEITHER),
        (networks(), "127.0.1.200", &[], BOTH),
        // Without a trusted proxy, forwarding headers deny details and grant nothing.
        (networks(), "127.0.0.6", FORWARDED, NEITHER),
        (networks(), "127.0.0.5", FORWARDED, PROBE),
        (networks(), "127.0.0.5", VIA, PROBE),
        (bearer(), "127.0.0.1", &[], NEITHER),
        (bearer(), "127.0.0.9", NEW, BOTH),
        (bearer(), "127.0.0.9", OLD, BOTH),
        (bearer(), "127.0.0.1", WRONG, NEITHER),
        (badge(), "127.0.0.1", BADGE, BOTH),
        (panics(), "127.0.0.1", &[], NEITHER),
        (all(), "127.0.0.9", NEW, BOTH),
        (all(), "127.0.0.9", WRONG, NEITHER),
    ];
    for (access, source, headers, (may_probe, sees)) in table {
        let case = format!("{access:?} {source} {headers:?}");
        let address = serve(HealthLayer::new(health()).details(access.clone())).await;
        assert_eq!(sees_details(address, source, headers).await, sees, "{case}");
        let address = serve(HealthLayer::new(health()).allow(access)).await;
        let (code, body) = health_of(address, source, headers).await;
        let answer = match may_probe {
            true => (StatusCode::OK, r#"{"status":"up"}"#),
            false => (StatusCode::FORBIDDEN, ""),
        };
        assert_eq!((code, &*body), answer, "{case}");
    }
}

/// As in the docs of `trusted_proxies`: operators in one network, proxies at two addresses.
#[tokio::test]
async fn only_a_trusted_proxy_names_its_client() {
    let operators = Access::networks(["127.0.5.0/24"])
        .and_then(|access| access.trusted_proxies(["127.0.0.7", "127.0.0.8"]))
        .expect("valid");
    let address = serve(HealthLayer::new(health()).details(operators)).await;
    const XFF: &str = "x-forwarded-for";
    let operator = "127.0.5.1";
    let table: [(&str, Fields<'_>, bool); 15] = [
        // Without a proxy.
        (operator, &[], true),
        ("127.0.0.9", &[], false),
        // An untrusted proxy.
        ("127.0.0.9", &[(XFF, operator)], false),
        ("127.0.0.9", &[("forwarded", "for=127.0.5.1")], false),
        (operator, &[(XFF, operator)], false),
        // A trusted proxy, and two in a row.
        ("127.0.0.7", &[(XFF, operator)], true),
        ("127.0.0.7", &[(XFF, "127.0.0.9")], false),
        (
            "127.0.0.8",
            &[("forwarded", "for=127.0.5.1;proto=https")],
            true,
        ),
        ("127.0.0.8", &[(XFF, operator), (XFF, "127.0.0.7")], true),
        // The client can write to the left of the proxy's entry.
        ("127.0.0.7", &[(XFF, "127.0.5.1, 127.0.0.9")], false),
        // Headers that disagree: the proxy may have written one of them only.
        (
            "127.0.0.7",
            &[(XFF, operator), ("forwarded", "for=127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[(XFF, operator), ("x-real-ip", "127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[(XFF, operator), ("x-real-ip", operator)],
            true,
        ),
        // A proxy that names no client.
        ("127.0.0.7", &[], false),
        ("127.0.0.7", &[("via", "1.1 proxy")], false),
    ];
    for (source, headers, expected) in table {
        let sees = sees_details(address, source, headers).await;
        assert_eq!(sees, expected, "{source} {headers:?}");
    }
    let error = Access::loopback().trusted_proxies(["localhost"]);
    assert!(
        error
            .expect_err("no address")
            .to_string()
            .starts_with("\"localhost\" is ")
    );
}

#[tokio::test]
async fn without_a_peer_address_details_are_denied_with_a_warning() {
    let health = health();
    let layer = HealthLayer::new(health.clone()).details(Access::loopback());
    let address = serve_axum(Router::new().layer(layer)).await;
    assert_eq!(health.warnings(), []);
    for _ in 0..2 {
        assert!(!sees_details(address, "127.0.0.1", &[]).await);
        let warnings = health.warnings();
        let kinds: Vec<_> = warnings.iter().map(ConfigWarning::kind).collect();
        assert_eq!(kinds, [ConfigWarningKind::NoPeerAddress]);
        let text = warnings[0].to_string();
        assert!(
            text.contains("into_make_service_with_connect_info"),
            "{text}"
        );
    }
}
