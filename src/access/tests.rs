use std::net::SocketAddr;

use http::{Method, Request};

use super::{Access, Detail, MissingPeer, PeerAddr, RequestHead};

fn request(peer: Option<&str>, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).expect("valid");
    if let Some(peer) = peer {
        let peer: SocketAddr = peer.parse().expect("an address");
        request.extensions_mut().insert(PeerAddr(peer));
    }
    request
}

fn allows(access: &Access, peer: Option<&str>, headers: &[(&str, &str)]) -> bool {
    let request = request(peer, "/livez", headers);
    access.allows(&RequestHead::of(&request, &MissingPeer::default()))
}

fn shows(access: &Access, request: &Request<()>) -> bool {
    access.detail(&RequestHead::of(request, &MissingPeer::default())) == Detail::Full
}

fn shows_to(access: &Access, peer: &str, headers: &[(&str, &str)]) -> bool {
    shows(access, &request(Some(peer), "/livez", headers))
}

/// Every header that marks a request as forwarded.
const MARKS: [&str; 8] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
];

#[test]
fn loopback_is_a_local_peer_without_forwarding_headers() {
    let access = Access::loopback();
    for peer in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(allows(&access, Some(peer), &[]), "{peer}");
        assert!(shows_to(&access, peer, &[]), "{peer}");
        for mark in MARKS {
            let headers = [(mark, "127.0.0.1")];
            assert!(!allows(&access, Some(peer), &headers), "{peer} {mark}");
            assert!(!shows_to(&access, peer, &headers), "{peer} {mark}");
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
    let others = [("x-forward", "http"), ("x-request-id", "1")];
    assert!(shows_to(&access, "127.0.0.1:1", &others));
}

#[test]
fn networks_contain_addresses_and_cidrs() {
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
        assert_eq!(shows_to(&access, peer, &[]), expected, "{peer}");
    }
    assert!(!allows(&access, None, &[]));
}

#[test]
fn details_are_denied_to_forwarded_requests_of_any_peer() {
    let networks = || Access::networks(["10.0.0.0/8"]).expect("valid");
    let behind = |access: Access| access.trusted_proxies(["192.0.2.1"]).expect("valid");
    let rules = [
        networks(),
        networks().or(Access::loopback()),
        Access::nobody().or(behind(networks())),
        behind(Access::loopback()).or(networks()),
        Access::predicate(|head| head.client_ip().is_some()),
    ];
    for access in rules {
        assert!(shows_to(&access, "10.0.0.5:1", &[]), "{access:?}");
        for mark in MARKS {
            for value in ["203.0.113.9", "10.0.0.5", ""] {
                let headers = [(mark, value)];
                assert!(
                    !shows_to(&access, "10.0.0.5:1", &headers),
                    "{access:?} {mark}: {value}"
                );
                // For probing the peer counts.
                assert!(allows(&access, Some("10.0.0.5:1"), &headers), "{mark}");
            }
        }
    }
}

#[test]
fn a_trusted_proxy_that_names_no_client_may_probe_only() {
    let rules = [
        Access::networks(["127.0.0.1", "10.0.0.7"]).expect("valid"),
        Access::loopback(),
    ];
    for access in rules {
        let access = access
            .trusted_proxies(["127.0.0.1", "10.0.0.7"])
            .expect("valid");
        let peer = "127.0.0.1:1";
        assert!(shows_to(&access, peer, &[]), "its own request");
        for mark in [
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "via",
        ] {
            let headers = [(mark, "x")];
            assert!(!shows_to(&access, peer, &headers), "{access:?} {mark}");
            assert!(allows(&access, Some(peer), &headers), "{access:?} {mark}");
        }
        // A proxy that names or hides its client does not count as itself.
        for (name, value) in [
            ("x-forwarded-for", "unknown"),
            ("forwarded", "for=_hidden"),
            ("x-real-ip", "203.0.113.9"),
        ] {
            assert!(!shows_to(&access, peer, &[(name, value)]), "{name}");
            assert!(!allows(&access, Some(peer), &[(name, value)]), "{name}");
        }
    }
}

#[test]
fn loopback_details_need_a_local_host_name() {
    let access = Access::loopback();
    let peer = Some("127.0.0.1:1");
    let table = [
        ("localhost", true),
        ("LocalHost:3000", true),
        ("app.localhost:3000", true),
        ("127.0.0.1", true),
        ("127.0.0.1:3000", true),
        ("10.0.0.5:3000", true),
        ("[::1]:3000", true),
        ("[2001:db8::1]", true),
        ("example.org", false),
        ("example.org:3000", false),
        ("localhost.example.org", false),
        ("notlocalhost", false),
        ("127.0.0.1.example.org", false),
        ("localhost@example.org", false),
        ("example.org@localhost", false),
        ("127.1", false),
        ("::1", false),
        ("local host", false),
    ];
    for (host, expected) in table {
        let by_header = request(peer, "/livez", &[("host", host)]);
        assert_eq!(shows(&access, &by_header), expected, "{host}");
        let both = request(peer, "/livez", &[("host", "localhost"), ("host", host)]);
        assert_eq!(shows(&access, &both), expected, "{host}");
        // `:authority`, and the host of an absolute URI.
        let uri = format!("http://{host}/livez");
        if uri.parse::<http::Uri>().is_ok() {
            let by_target = request(peer, &uri, &[("host", "localhost")]);
            assert_eq!(shows(&access, &by_target), expected, "{uri}");
        }
        assert!(allows(&access, peer, &[("host", host)]), "{host}");
    }
    let networks = Access::networks(["127.0.0.1"]).expect("valid");
    let foreign = request(peer, "/livez", &[("host", "example.org")]);
    assert!(
        shows(&networks, &foreign),
        "only loopback has a rule on the host"
    );
}

#[test]
fn a_missing_peer_address_is_noted_by_rules_on_addresses() {
    let networks = Access::networks(["10.0.0.0/8"]).expect("valid");
    let table = [
        (Access::loopback(), true),
        (networks, true),
        (Access::bearer(["t"]).or(Access::loopback()), true),
        (Access::bearer(["t"]), false),
        (Access::everybody(), false),
        (Access::nobody(), false),
        (Access::predicate(|_| false), false),
    ];
    for (access, expected) in table {
        let missing = MissingPeer::default();
        let known = request(Some("10.0.0.1:1"), "/livez", &[]);
        access.allows(&RequestHead::of(&known, &missing));
        assert!(!missing.is_noted(), "{access:?}");
        let unknown = request(None, "/livez", &[]);
        access.detail(&RequestHead::of(&unknown, &missing));
        assert_eq!(missing.is_noted(), expected, "{access:?}");
    }
}

#[test]
fn any_of_several_tokens_grants_access() {
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
fn an_empty_token_is_rejected() {
    let _ = Access::bearer(["good", ""]);
}

#[test]
fn behind_a_trusted_proxy_the_client_address_counts() {
    let access = Access::networks(["203.0.113.0/24"])
        .and_then(|access| access.trusted_proxies(["10.0.0.7"]))
        .expect("valid");
    let client = [("x-forwarded-for", "203.0.113.9")];
    assert!(allows(&access, Some("10.0.0.7:1"), &client));
    assert!(shows_to(&access, "10.0.0.7:1", &client));
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
    let outsider = [("x-forwarded-for", "203.0.113.9, 198.51.100.1")];
    assert!(!allows(&access, Some("10.0.0.7:1"), &outsider));
}

#[test]
fn forwarded_requests_are_not_loopback_but_tokens_work() {
    let access = Access::loopback()
        .or(Access::bearer(["t"]))
        .trusted_proxies(["127.0.0.1"])
        .expect("valid");
    let local = [("x-forwarded-for", "127.0.0.1")];
    assert!(!allows(&access, Some("127.0.0.1:1"), &local));
    assert!(!shows_to(&access, "127.0.0.1:1", &local));
    assert!(allows(&access, Some("127.0.0.1:1"), &[]));
    let token = [("x-forwarded-for", "junk"), ("authorization", "Bearer t")];
    assert!(allows(&access, Some("127.0.0.1:1"), &token));
    assert!(shows_to(&access, "192.0.2.9:1", &token));
}

#[test]
fn a_predicate_gets_the_unchanged_head() {
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
        let request = request.body(()).expect("valid");
        access.allows(&RequestHead::of(&request, &MissingPeer::default()))
    };
    assert!(head("HEAD", "/livez?x", 7));
    assert!(!head("GET", "/livez?x", 7));
    assert!(!head("HEAD", "/livez", 7));
    assert!(!head("HEAD", "/livez?x", 8));
}

#[test]
fn debug_output_of_a_head_has_no_query_and_no_header() {
    let request = Request::get("/livez?token=hunter2").header("cookie", "hunter2");
    let request = request.body(()).expect("valid");
    assert_eq!(
        format!("{:?}", RequestHead::of(&request, &MissingPeer::default())),
        r#"RequestHead { method: GET, path: "/livez", peer: None, .. }"#
    );
}

#[test]
fn debug_output_of_a_rule_has_networks_but_no_tokens() {
    let access = Access::networks(["10.0.0.0/8"]).expect("valid");
    let access = access
        .or(Access::bearer(["hunter2"]))
        .or(Access::loopback());
    let access = access.trusted_proxies(["192.0.2.1"]).expect("valid");
    assert_eq!(
        format!("{access:?}"),
        "Access { rules: [\
         ProxiedRule { rule: Networks([10.0.0.0/8]), proxies: [192.0.2.1/32] }, \
         ProxiedRule { rule: Bearer(..), proxies: [192.0.2.1/32] }, \
         ProxiedRule { rule: Loopback, proxies: [192.0.2.1/32] }] }"
    );
    let others = Access::everybody().or(Access::predicate(|_| true));
    assert_eq!(
        format!("{others:?}"),
        "Access { rules: [ProxiedRule { rule: AllowAll, proxies: [] }, \
         ProxiedRule { rule: Predicate(..), proxies: [] }] }"
    );
}

#[test]
fn proxies_of_several_calls_are_all_trusted() {
    let networks = || Access::networks(["10.0.0.0/8"]).expect("valid");
    let behind = |access: Access, proxy| access.trusted_proxies([proxy]).expect("valid");
    let chained = behind(behind(networks(), "10.0.0.7"), "10.0.0.8");
    let mixed = behind(
        behind(networks(), "10.0.0.7").or(Access::nobody()),
        "10.0.0.8",
    );
    for access in [chained, mixed] {
        for proxy in ["10.0.0.7:1", "10.0.0.8:1"] {
            let outsider = [("x-forwarded-for", "198.51.100.1")];
            assert!(
                !allows(&access, Some(proxy), &outsider),
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
