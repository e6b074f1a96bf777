//! Forwarded headers: a header written by a caller cannot change the client that a trusted proxy reports.

#![no_main]

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_health::Access;
use tower_health_fuzz::allows;

const TRUSTED: [&str; 3] = ["10.0.0.0/24", "192.0.2.1", "2001:db8::/64"];
/// The address of the caller that wrote the headers, as the proxy reports it.
const CALLER: &str = "203.0.113.9";

fuzz_target!(|text: &str| {
    let sent = headers(text);
    let untrusted = IpAddr::from([198, 51, 100, 7]);
    assert_eq!(client(sent.clone(), untrusted), Some(untrusted));

    let caller: IpAddr = CALLER.parse().expect("an address");
    for (name, own) in [
        ("x-forwarded-for", CALLER),
        ("forwarded", "for=203.0.113.9"),
        ("forwarded", "for=\"203.0.113.9:80\";proto=https"),
        ("x-real-ip", CALLER),
    ] {
        let mut next_line = sent.clone();
        next_line.append(name, HeaderValue::from_static(own));
        // As nginx does it: all lines in one, and its own entry at the end.
        let lines = next_line.get_all(name).iter().map(HeaderValue::as_bytes);
        let line = lines.collect::<Vec<_>>().join(&b", "[..]);
        let mut same_line = sent.clone();
        same_line.insert(name, HeaderValue::from_bytes(&line).expect("of values"));
        for proxied in [same_line, next_line] {
            let client = client(proxied, [10, 0, 0, 1].into());
            assert!(
                client.is_none_or(|client| client == caller),
                "{client:?} instead of {caller} behind {name}: {own}"
            );
        }
    }
});

/// `name: value` lines; what no request can have is left out.
fn headers(text: &str) -> HeaderMap {
    let fields = text.split('\n').filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = value.trim_matches([' ', '\t', '\r']);
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    fields
        .take(64)
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
}

fn client(headers: HeaderMap, peer: IpAddr) -> Option<IpAddr> {
    let client = Arc::new(Mutex::new(None));
    let seen = client.clone();
    let access = Access::predicate(move |head| {
        *seen.lock().expect("no panic") = head.client_ip();
        true
    });
    let access = access.trusted_proxies(TRUSTED).expect("valid");
    assert!(allows(&access, headers, Some(peer)));
    *client.lock().expect("no panic")
}
