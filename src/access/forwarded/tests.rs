use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Forwarded, MAX_LENGTH, read};
use crate::access::network::parse_networks;

/// The client behind a proxy, with 10.0.0.0/24 trusted.
fn behind(headers: &[(&str, &str)]) -> Option<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    let trusted = parse_networks(["10.0.0.0/24", "2001:db8::/64"]).expect("valid");
    match read(&map, &trusted) {
        Forwarded::Client(client) => Some(client.to_string()),
        Forwarded::Absent => Some("absent".to_owned()),
        Forwarded::Unreadable => None,
    }
}

#[test]
fn x_forwarded_for_is_read_from_the_right_past_the_proxies() {
    let table = [
        ("203.0.113.9", Some("203.0.113.9")),
        ("198.51.100.1, 203.0.113.9", Some("203.0.113.9")),
        ("203.0.113.9, 10.0.0.2, 10.0.0.3", Some("203.0.113.9")),
        ("junk, 203.0.113.9, 10.0.0.2", Some("203.0.113.9")),
        ("<script>, 203.0.113.9", Some("203.0.113.9")),
        // All of them are proxies: the first one sent the request.
        ("10.0.0.3,10.0.0.2", Some("10.0.0.3")),
        // A proxy's address in the middle is what the client wrote.
        ("10.0.0.3, 203.0.113.9", Some("203.0.113.9")),
        ("203.0.113.9:4711", Some("203.0.113.9")),
        ("2001:db9::1", Some("2001:db9::1")),
        ("[2001:db9::1]:80", Some("2001:db9::1")),
        ("[2001:db9::1]", Some("2001:db9::1")),
        ("::ffff:203.0.113.9", Some("203.0.113.9")),
        ("203.0.113.9, ::ffff:10.0.0.2", Some("203.0.113.9")),
        ("203.0.113.9, 2001:db8::5", Some("203.0.113.9")),
        ("\t203.0.113.9 ", Some("203.0.113.9")),
        ("", None),
        (",", None),
        ("203.0.113.9,", None),
        ("203.0.113.9, unknown", None),
        ("203.0.113.9, unknown, 10.0.0.2", None),
        ("unknown, 10.0.0.2", None),
        ("203.0.113.9 203.0.113.8", None),
        ("\"203.0.113.9\"", None),
        ("203.0.113.9/32", None),
        ("203.0.113.09", None),
        ("203.0.113", None),
        ("3405803785", None),
        ("0xcb007109", None),
        ("fe80::1%eth0", None),
        ("[fe80::1%1]:80", None),
        ("[203.0.113.9]", None),
        ("203.0.113.9:99999", None),
        ("localhost", None),
    ];
    for (value, expected) in table {
        let found = behind(&[("x-forwarded-for", value)]);
        assert_eq!(found.as_deref(), expected, "{value:?}");
    }
}

#[test]
fn forwarded_elements_are_read_from_the_right() {
    let table = [
        ("for=203.0.113.9", Some("203.0.113.9")),
        ("For=203.0.113.9;proto=https", Some("203.0.113.9")),
        (
            "proto=https; FOR=\"203.0.113.9:4711\" ;by=_x",
            Some("203.0.113.9"),
        ),
        ("for=\"[2001:db9::1]:4711\"", Some("2001:db9::1")),
        ("for=\"[2001:db9::1]\"", Some("2001:db9::1")),
        (
            "for=198.51.100.1, for=203.0.113.9,for=10.0.0.2",
            Some("203.0.113.9"),
        ),
        ("for=unknown, for=203.0.113.9", Some("203.0.113.9")),
        (
            "for=203.0.113.9;host=\"a,b;for=10.0.0.2\"",
            Some("203.0.113.9"),
        ),
        ("for=10.0.0.3", Some("10.0.0.3")),
        ("for=203.0.113.9, for=unknown", None),
        ("for=203.0.113.9, for=_hidden, for=10.0.0.2", None),
        ("for=203.0.113.9, proto=https", None),
        ("for=203.0.113.9;for=10.0.0.2", None),
        ("for=203.0.113.9,", None),
        ("for", None),
        ("for=", None),
        ("=203.0.113.9", None),
        ("for =203.0.113.9", None),
        ("=x;for=203.0.113.9", None),
        ("f-r=x;for=203.0.113.9", None),
        ("for=203.0.113.9 x", None),
        ("for=\"203.0.113.9\"x", None),
        ("for=\"203.0.113.9", None),
        ("for=\"203.0.113.\\9\"", None),
        ("", None),
        (";", None),
    ];
    for (value, expected) in table {
        let found = behind(&[("forwarded", value)]);
        assert_eq!(found.as_deref(), expected, "{value:?}");
    }
}

#[test]
fn an_open_quote_cannot_hide_the_element_of_the_proxy() {
    for open in ["for=10.0.0.9;x=\"", "for=203.0.113.1;x=\"", "x=\"\\"] {
        for appended in [
            "for=198.51.100.1",
            "for=198.51.100.1;proto=\"https\"",
            "for=\"198.51.100.1\"",
            "for=\"198.51.100.1:80\";by=\"_a\"",
        ] {
            let one_line = format!("{open}, {appended}");
            let found = behind(&[("forwarded", &one_line)]);
            assert_eq!(found, None, "{one_line}");
            let found = behind(&[("forwarded", open), ("forwarded", appended)]);
            assert_eq!(found, None, "{open} and {appended}");
        }
    }
}

#[test]
fn several_lines_are_one_list() {
    let lines = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "10.0.0.2"),
    ];
    assert_eq!(behind(&lines).as_deref(), Some("198.51.100.1"));
    assert_eq!(behind(&lines[..1]).as_deref(), Some("203.0.113.9"));
    let lines = [
        ("forwarded", "for=203.0.113.9"),
        ("forwarded", "for=10.0.0.2"),
    ];
    assert_eq!(behind(&lines).as_deref(), Some("203.0.113.9"));
}

#[test]
fn all_headers_must_name_the_same_client() {
    let list = ("x-forwarded-for", "198.51.100.1, 203.0.113.9");
    let element = ("forwarded", "for=203.0.113.9");
    let single = ("x-real-ip", "203.0.113.9");
    for headers in [
        &[list, element][..],
        &[list, single],
        &[element, single],
        &[list, element, single],
    ] {
        assert_eq!(
            behind(headers).as_deref(),
            Some("203.0.113.9"),
            "{headers:?}"
        );
    }
    for other in ["for=10.0.0.9", "for=198.51.100.1", "for=unknown", ""] {
        assert_eq!(behind(&[list, ("forwarded", other)]), None, "{other}");
        assert_eq!(behind(&[single, ("forwarded", other)]), None, "{other}");
    }
    for other in ["198.51.100.1", "10.0.0.9", "unknown", ""] {
        assert_eq!(behind(&[list, ("x-real-ip", other)]), None, "{other}");
        assert_eq!(
            behind(&[list, element, ("x-real-ip", other)]),
            None,
            "{other}"
        );
        assert_eq!(
            behind(&[single, ("x-forwarded-for", other)]),
            None,
            "{other}"
        );
    }
}

#[test]
fn x_real_ip_contains_one_address() {
    let table = [
        ("203.0.113.9", Some("203.0.113.9")),
        (" [2001:db9::1]:80 ", Some("2001:db9::1")),
        ("203.0.113.9, 203.0.113.9", None),
        ("unknown", None),
        ("", None),
    ];
    for (value, expected) in table {
        assert_eq!(
            behind(&[("x-real-ip", value)]).as_deref(),
            expected,
            "{value}"
        );
    }
    let twice = [("x-real-ip", "203.0.113.9"), ("x-real-ip", "203.0.113.9")];
    assert_eq!(behind(&twice), None);
}

#[test]
fn other_headers_name_no_client() {
    assert_eq!(behind(&[]).as_deref(), Some("absent"));
    let others = [("via", "1.1 proxy"), ("x-forwarded-proto", "https")];
    assert_eq!(behind(&others).as_deref(), Some("absent"));
}

#[test]
fn a_header_over_4096_bytes_is_not_read() {
    let client = ", 203.0.113.9";
    let longest = "x".repeat(MAX_LENGTH - client.len()) + client;
    assert_eq!(
        behind(&[("x-forwarded-for", &longest)]).as_deref(),
        Some("203.0.113.9")
    );
    assert_eq!(
        behind(&[("x-forwarded-for", &("x".to_owned() + &longest))]),
        None
    );
    let lines = [("x-forwarded-for", "x"), ("x-forwarded-for", &*longest)];
    assert_eq!(behind(&lines), None, "together");
    assert_eq!(behind(&[("x-forwarded-for", "203.0.113.9, \u{e9}")]), None);
}
