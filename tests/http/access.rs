//! Who may probe and who sees details, over real sockets with several addresses of loopback.

use crate::helpers::peers::{Fields, NAME, health, health_of, sees_details, serve};
use axum::Router;
use http::StatusCode;
use tokio::net::TcpListener;
use tower_health::{
    Access, Failure, Health, HealthLayer, Reason,
    health::{ConfigWarning, ConfigWarningKind},
};

#[tokio::test]
async fn each_rule_decides_over_probes_and_details() {
    let networks = || Access::networks(["127.0.0.5", "127.0.1.0/24"]).expect("valid");
    let bearer = || Access::bearer(["old-token", "new-token"]);
    let badge = || Access::predicate(|head| head.headers().contains_key("x-badge"));
    let panics = || Access::predicate(|_| panic!("a bug of the app's"));
    const NEW: &[(&str, &str)] = &[("authorization", "Bearer new-token")];
    const OLD: &[(&str, &str)] = &[("authorization", "bearer old-token")];
    const WRONG: &[(&str, &str)] = &[("authorization", "Bearer new-toke")];
    const BADGE: &[(&str, &str)] = &[("x-badge", "")];
    const FORWARDED: &[(&str, &str)] = &[("x-forwarded-for", "127.0.0.5")];
    const FOREIGN_HOST: &[(&str, &str)] = &[("host", "example.org")];
    // Whether the request may probe, and whether it sees details.
    const BOTH: (bool, bool) = (true, true);
    const PROBE: (bool, bool) = (true, false);
    const NEITHER: (bool, bool) = (false, false);
    let table: [(Access, &str, Fields<'_>, (bool, bool)); 24] = [
        (Access::nobody(), "127.0.0.1", &[], NEITHER),
        (Access::everybody(), "127.0.0.9", &[], BOTH),
        (Access::everybody(), "127.0.0.9", FORWARDED, BOTH),
        (Access::loopback(), "127.0.0.1", &[], BOTH),
        (Access::loopback(), "127.0.0.9", &[], BOTH),
        (Access::loopback(), "127.0.0.1", FORWARDED, NEITHER),
        (Access::loopback(), "127.0.0.1", FOREIGN_HOST, PROBE),
        (networks(), "127.0.0.5", &[], BOTH),
        (networks(), "127.0.0.5", FOREIGN_HOST, BOTH),
        (networks(), "127.0.0.6", &[], NEITHER),
        (networks(), "127.0.1.200", &[], BOTH),
        // No proxy is trusted: forwarding headers only take details away.
        (networks(), "127.0.0.6", FORWARDED, NEITHER),
        (networks(), "127.0.0.5", FORWARDED, PROBE),
        (networks(), "127.0.0.5", &[("via", "1.1 x")], PROBE),
        (
            networks(),
            "127.0.0.5",
            &[("x-real-ip", "127.0.0.5")],
            PROBE,
        ),
        (bearer(), "127.0.0.1", &[], NEITHER),
        (bearer(), "127.0.0.9", NEW, BOTH),
        (bearer(), "127.0.0.9", OLD, BOTH),
        (bearer(), "127.0.0.1", WRONG, NEITHER),
        (badge(), "127.0.0.1", BADGE, BOTH),
        (badge(), "127.0.0.1", &[], NEITHER),
        (panics(), "127.0.0.1", &[], NEITHER),
        (networks().or(bearer()), "127.0.0.9", NEW, BOTH),
        (
            networks().or(bearer()).or(badge()),
            "127.0.0.9",
            WRONG,
            NEITHER,
        ),
    ];
    for (access, source, headers, (may_probe, sees)) in table {
        let what = format!("{access:?} {source} {headers:?}");
        let address = serve(HealthLayer::new(health()).details(access.clone())).await;
        let seen = sees_details(address, source, headers).await;
        assert_eq!(seen, sees, "{what}");
        let address = serve(HealthLayer::new(health()).allow(access)).await;
        let (code, body) = health_of(address, source, headers).await;
        let answer = match may_probe {
            true => (StatusCode::OK, r#"{"status":"up"}"#.to_owned()),
            false => (StatusCode::FORBIDDEN, String::new()),
        };
        assert_eq!((code, body), answer, "{what}");
    }
}

#[tokio::test]
async fn without_a_peer_address_details_are_denied_with_a_warning() {
    let health = health();
    let layer = HealthLayer::new(health.clone()).details(Access::loopback());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, Router::new().layer(layer)).await });
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

#[tokio::test]
async fn tokens_rotate_without_a_gap() {
    let with = |tokens: &[&'static str]| {
        let tokens = tokens.iter().copied();
        HealthLayer::new(health()).details(Access::bearer(tokens))
    };
    let sees = async |address, token: &str| {
        let value = format!("Bearer {token}");
        sees_details(address, "127.0.0.1", &[("authorization", &value)]).await
    };
    for (tokens, old, new) in [
        (&["old"][..], true, false),
        (&["old", "new"], true, true),
        (&["new"], false, true),
        (&[], false, false),
    ] {
        let address = serve(with(tokens)).await;
        assert_eq!(sees(address, "old").await, old, "{tokens:?}");
        assert_eq!(sees(address, "new").await, new, "{tokens:?}");
    }
}

#[tokio::test]
async fn an_unauthorized_caller_gets_the_code_but_no_reason() {
    let health = Health::builder()
        .check(NAME, async || Err(Failure::new(Reason::Auth)))
        .build();
    health.set_started();
    let address = serve(HealthLayer::new(health).details(Access::loopback())).await;
    let (code, body) = health_of(address, "127.0.0.1", &[("via", "1.1 x")]).await;
    assert_eq!(
        (code, &*body),
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"down"}"#)
    );
    let (_, body) = health_of(address, "127.0.0.1", &[]).await;
    assert!(body.contains(r#""reason":"auth""#), "{body}");
}

#[test]
fn an_invalid_network_is_named() {
    for entry in [
        "10.0.0.0/33",
        "192.168.1.5/24",
        " 10.0.0.1",
        "localhost",
        "",
    ] {
        let named = format!("{entry:?} is neither an address nor a network such as 10.0.0.0/8");
        let error = Access::networks(["127.0.0.1", entry]).expect_err(entry);
        assert_eq!(error.to_string(), named);
        let error = Access::loopback()
            .trusted_proxies([entry])
            .expect_err(entry);
        assert_eq!(error.to_string(), named);
    }
}

#[test]
#[should_panic(expected = "bearer token number 2 is empty")]
fn an_empty_token_is_named_by_its_position() {
    drop(Access::bearer(["secret", ""]));
}
