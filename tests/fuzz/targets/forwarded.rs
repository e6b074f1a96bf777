//! Forwarded headers: a header written by a caller cannot change the client that a trusted proxy reports.

#![no_main]

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, HeaderValue, header::FORWARDED};
use libfuzzer_sys::fuzz_target;
use tower_health::Access;
use tower_health_fuzz::{allows, headers};

const TRUSTED: [&str; 3] = ["10.0.0.0/24", "192.0.2.1", "2001:db8::/64"];
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
/// Whom the proxy was asked by: the one who wrote the headers.
const CLIENT_IP: &str = "203.0.113.9";

fuzz_target!(|text: &str| {
    let sent = headers(text);
    let client = client(sent.clone(), PROXY);
    if let Some(client) = client.filter(|client| *client != PROXY) {
        assert!(is_written(&sent, client), "{client} is made up");
    }
    // From anybody but a trusted proxy nothing counts.
    let other: IpAddr = [198, 51, 100, 7].into();
    assert_eq!(self::client(sent.clone(), other), Some(other));

    // The proxy appends the address of the caller to what that caller sent, so no other address can result.
    let client_ip: IpAddr = CLIENT_IP.parse().expect("an address");
    for (name, own) in [
        ("x-forwarded-for", CLIENT_IP.to_owned()),
        ("forwarded", format!("for={CLIENT_IP}")),
        ("forwarded", format!("for=\"{CLIENT_IP}:80\";proto=https")),
        ("x-real-ip", CLIENT_IP.to_owned()),
    ] {
        for proxied in [same_line(&sent, name, &own), next_line(&sent, name, &own)] {
            let client = self::client(proxied, PROXY);
            assert!(
                client.is_none_or(|client| client == client_ip),
                "{client:?} instead of {client_ip} behind {name}: {own}"
            );
        }
    }
});

fn client(headers: HeaderMap, peer: IpAddr) -> Option<IpAddr> {
    let seen = Arc::new(Mutex::new(None));
    let sees = seen.clone();
    let access = Access::predicate(move |head| {
        *sees.lock().expect("no panic") = head.client_ip();
        true
    });
    let access = access.trusted_proxies(TRUSTED).expect("valid");
    assert!(allows(access, headers, Some(peer)));
    let client = *seen.lock().expect("no panic");
    client
}

/// In one of the headers, in whatever way it is written.
fn is_written(headers: &HeaderMap, address: IpAddr) -> bool {
    let values = headers.get_all("x-forwarded-for");
    let values = values.iter().chain(headers.get_all(FORWARDED));
    let values = values.chain(headers.get_all("x-real-ip"));
    values.filter_map(|value| value.to_str().ok()).any(|value| {
        let words = value.split(|byte: char| !byte.is_ascii_hexdigit() && !".:".contains(byte));
        words.flat_map(readings).any(|read| read == address)
    })
}

fn readings(word: &str) -> impl Iterator<Item = IpAddr> {
    let without_port = word.rsplit_once(':').map(|(address, _)| address);
    [Some(word), without_port]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
}

fn next_line(sent: &HeaderMap, name: &'static str, own: &str) -> HeaderMap {
    let mut headers = sent.clone();
    headers.append(name, own.parse().expect("valid"));
    headers
}

/// As nginx does it: all lines in one, and the own at its end.
fn same_line(sent: &HeaderMap, name: &'static str, own: &str) -> HeaderMap {
    let mut headers = sent.clone();
    let mut line: Vec<u8> = Vec::new();
    for value in sent.get_all(name) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(own.as_bytes());
    headers.insert(name, HeaderValue::from_bytes(&line).expect("of values"));
    headers
}
