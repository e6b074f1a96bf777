use std::net::SocketAddr;

use http::{Method, Request};

use super::{Access, PeerAddr, RequestHead};

fn allows(access: &Access, peer: Option<&str>, headers: &[(&str, &str)]) -> bool {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).expect("valid");
    if let Some(peer) = peer {
        let peer: SocketAddr = peer.parse().expect("an address");
        request.extensions_mut().insert(PeerAddr(peer));
    }
    access.allows(&RequestHead::of(&request))
}

#[test]
fn loopback_is_a_local_peer_that_speaks_for_itself() {
    let access = Access::loopback();
    for peer in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(allows(&access, Some(peer), &[]), "{peer}");
        for header in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            assert!(
                !allows(&access, Some(peer), &[(header, "")]),
                "{peer} {header}"
            );
        }
    }
    for peer in [
        None,
        Some("10.0.0.1:1"),
        Some("[::ffff:10.0.0.1]:1"),
        Some("[::2]:1"),
    ] {
        assert!(!allows(&access, peer, &[]), "{peer:?}");
    }
}

#[test]
fn networks_hold_addresses_and_cidrs() {
    let access = Access::networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]).expect("valid");
    let table = [
        ("10.1.2.3:1", true),
        ("[::ffff:10.1.2.3]:1", true),
        ("11.0.0.1:1", false),
        ("192.0.2.7:1", true),
        ("192.0.2.8:1", false),
        ("[2001:db8::1]:1", true),
        ("[2001:db9::1]:1", false),
    ];
    for (peer, expected) in table {
        assert_eq!(allows(&access, Some(peer), &[]), expected, "{peer}");
    }
    assert!(!allows(&access, None, &[]));
}

#[test]
fn any_of_several_tokens_opens() {
    let access = Access::bearer(["old", "new"]);
    let table = [
        ("Bearer old", true),
        ("bearer new", true),
        ("Bearer ne", false),
        ("Bearer newer", false),
        ("Bearer ", false),
        ("Basic new", false),
        ("new", false),
        ("", false),
    ];
    for (value, expected) in table {
        assert_eq!(
            allows(&access, None, &[("authorization", value)]),
            expected,
            "{value}"
        );
    }
    assert!(!format!("{access:?}").contains("old"));
}

#[test]
#[should_panic(expected = "bearer token number 2 is empty")]
fn an_empty_token_is_refused() {
    let _ = Access::bearer(["good", ""]);
}

#[test]
fn behind_a_trusted_proxy_its_client_counts() {
    let access = Access::networks(["203.0.113.0/24"])
        .and_then(|access| access.trusted_proxies(["10.0.0.7"]))
        .expect("valid");
    let client = [("x-forwarded-for", "203.0.113.9")];
    assert!(allows(&access, Some("10.0.0.7:1"), &client));
    assert!(!allows(&access, Some("10.0.0.8:1"), &client), "not trusted");
    assert!(
        !allows(&access, Some("10.0.0.7:1"), &[]),
        "the proxy itself"
    );
    assert!(
        allows(&access, Some("203.0.113.1:1"), &[]),
        "no proxy at all"
    );
    assert!(!allows(&access, None, &client));
    let stranger = [("x-forwarded-for", "203.0.113.9, 198.51.100.1")];
    assert!(!allows(&access, Some("10.0.0.7:1"), &stranger));
}

#[test]
fn behind_a_proxy_nobody_is_local_and_tokens_open_as_ever() {
    let access = Access::loopback()
        .or(Access::bearer(["t"]))
        .trusted_proxies(["127.0.0.1"])
        .expect("valid");
    let local = [("x-forwarded-for", "127.0.0.1")];
    assert!(!allows(&access, Some("127.0.0.1:1"), &local));
    assert!(allows(&access, Some("127.0.0.1:1"), &[]));
    let token = [("x-forwarded-for", "junk"), ("authorization", "Bearer t")];
    assert!(allows(&access, Some("127.0.0.1:1"), &token));
}

#[test]
fn a_closure_sees_the_head_as_it_came() {
    let access = Access::predicate(|head| {
        *head.method() == Method::HEAD
            && head
                .uri()
                .path_and_query()
                .is_some_and(|uri| uri == "/livez?x")
            && head.headers()["x-team"] == "ops"
            && head.extensions().get() == Some(&7_u8)
            && head.client_ip() == head.peer_ip()
    });
    let head = |method, uri, extension: u8| {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("x-team", "ops").extension(extension);
        access.allows(&RequestHead::of(&request.body(()).expect("valid")))
    };
    assert!(head("HEAD", "/livez?x", 7));
    assert!(!head("GET", "/livez?x", 7));
    assert!(!head("HEAD", "/livez", 7));
    assert!(!head("HEAD", "/livez?x", 8));
}

#[test]
fn a_head_prints_who_asks_for_what_and_no_header() {
    let request = Request::get("/livez?token=hunter2").header("cookie", "hunter2");
    let request = request.body(()).expect("valid");
    assert_eq!(
        format!("{:?}", RequestHead::of(&request)),
        r#"RequestHead { method: GET, path: "/livez", peer: None, .. }"#
    );
}

#[test]
fn a_rule_prints_its_networks_and_no_token() {
    let access = Access::networks(["10.0.0.0/8"]).expect("valid");
    let access = access
        .or(Access::bearer(["hunter2"]))
        .or(Access::loopback());
    let access = access.trusted_proxies(["192.0.2.1"]).expect("valid");
    assert_eq!(
        format!("{access:?}"),
        "Behind(Either(Either(Networks([10.0.0.0/8]), Bearer(..)), Loopback), [192.0.2.1/32])"
    );
    let others = [
        Access::nobody(),
        Access::everybody(),
        Access::predicate(|_| true),
    ];
    assert_eq!(format!("{others:?}"), "[Nobody, Everybody, Closure(..)]");
}

#[test]
fn proxies_named_twice_are_all_trusted() {
    let networks = || Access::networks(["10.0.0.0/8"]).expect("valid");
    let behind = |access: Access, proxy| access.trusted_proxies([proxy]).expect("valid");
    let chained = behind(behind(networks(), "10.0.0.7"), "10.0.0.8");
    let mixed = behind(
        behind(networks(), "10.0.0.7").or(Access::nobody()),
        "10.0.0.8",
    );
    for access in [chained, mixed] {
        for proxy in ["10.0.0.7:1", "10.0.0.8:1"] {
            let stranger = [("x-forwarded-for", "198.51.100.1")];
            assert!(
                !allows(&access, Some(proxy), &stranger),
                "{access:?} {proxy}"
            );
            let colleague = [("x-forwarded-for", "10.1.2.3, 10.0.0.8")];
            assert!(
                allows(&access, Some(proxy), &colleague),
                "{access:?} {proxy}"
            );
        }
    }
}

#[test]
fn a_proxy_that_says_nothing_of_its_client_is_seen_by_what_else_it_says() {
    for name in [
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "via",
        "forwarded",
    ] {
        assert!(
            !allows(&Access::loopback(), Some("127.0.0.1:1"), &[(name, "http")]),
            "{name}"
        );
    }
    let other = [("x-forward", "http"), ("x-request-id", "1")];
    assert!(allows(&Access::loopback(), Some("127.0.0.1:1"), &other));
}
