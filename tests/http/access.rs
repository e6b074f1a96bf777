//! Who may probe and who sees details, over real sockets with several addresses of loopback.

use crate::helpers::peers::{Fields, NAME, health, health_of, sees_details, serve};
use http::StatusCode;
use tower_health::{Access, Failure, Health, HealthLayer, Reason};

#[tokio::test]
async fn each_kind_of_access_opens_to_its_own() {
    let networks = || Access::networks(["127.0.0.5", "127.0.1.0/24"]).expect("valid");
    let bearer = || Access::bearer(["old-token", "new-token"]);
    let closure = || Access::predicate(|head| head.headers().contains_key("x-badge"));
    let panics = || Access::predicate(|_| panic!("a bug of the app's"));
    const NEW: &[(&str, &str)] = &[("authorization", "Bearer new-token")];
    const OLD: &[(&str, &str)] = &[("authorization", "bearer old-token")];
    const WRONG: &[(&str, &str)] = &[("authorization", "Bearer new-toke")];
    const BADGE: &[(&str, &str)] = &[("x-badge", "")];
    const PROXIED: &[(&str, &str)] = &[("x-forwarded-for", "127.0.0.5")];
    let table: [(Access, &str, Fields<'_>, bool); 20] = [
        (Access::nobody(), "127.0.0.1", &[], false),
        (Access::everybody(), "127.0.0.9", &[], true),
        (Access::everybody(), "127.0.0.9", PROXIED, true),
        (Access::loopback(), "127.0.0.1", &[], true),
        (Access::loopback(), "127.0.0.9", &[], true),
        (Access::loopback(), "127.0.0.1", PROXIED, false),
        (networks(), "127.0.0.5", &[], true),
        (networks(), "127.0.0.6", &[], false),
        (networks(), "127.0.1.200", &[], true),
        // No proxy is trusted: what it says of others counts for nothing.
        (networks(), "127.0.0.6", PROXIED, false),
        (
            networks(),
            "127.0.0.5",
            &[("x-forwarded-for", "9.9.9.9")],
            true,
        ),
        (bearer(), "127.0.0.1", &[], false),
        (bearer(), "127.0.0.9", NEW, true),
        (bearer(), "127.0.0.9", OLD, true),
        (bearer(), "127.0.0.1", WRONG, false),
        (closure(), "127.0.0.1", BADGE, true),
        (closure(), "127.0.0.1", &[], false),
        (panics(), "127.0.0.1", &[], false),
        (networks().or(bearer()), "127.0.0.9", NEW, true),
        (
            networks().or(bearer()).or(closure()),
            "127.0.0.9",
            WRONG,
            false,
        ),
    ];
    for (access, source, headers, expected) in table {
        let what = format!("{access:?} {source} {headers:?}");
        let address = serve(HealthLayer::new(health()).details(access.clone())).await;
        let seen = sees_details(address, source, headers).await;
        assert_eq!(seen, expected, "{what}");
        // The same rule for who may probe at all.
        let address = serve(HealthLayer::new(health()).allow(access)).await;
        let (code, body) = health_of(address, source, headers).await;
        let answer = match expected {
            true => (StatusCode::OK, r#"{"status":"up"}"#.to_owned()),
            false => (StatusCode::FORBIDDEN, String::new()),
        };
        assert_eq!((code, body), answer, "{what}");
    }
}

#[tokio::test]
async fn tokens_rotate_without_a_moment_in_which_nobody_sees() {
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
async fn a_stranger_gets_the_code_but_no_reason() {
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
fn an_entry_that_is_no_network_is_named() {
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
#[should_panic(expected = "bearer token number 2 is empty, which would let everybody in")]
fn a_token_that_is_none_is_named_by_its_place() {
    drop(Access::bearer(["secret", ""]));
}
