//! Networks: the addresses between the first and the last one are allowed, and no others.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tower_health::Access;
use tower_health_fuzz::allows;

// The network, and then addresses to try.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let text = lines.next().unwrap_or_default();
    let access = match Access::networks([text]) {
        Ok(access) => access,
        Err(error) => return assert!(error.to_string().starts_with(&format!("{text:?}"))),
    };
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().expect("an address");
    let width = if address.is_ipv4() { 32 } else { 128 };
    let fixed = if length.is_empty() {
        width
    } else {
        length.parse().expect("a length")
    };
    let host = u128::MAX.checked_shr(128 - width + fixed).unwrap_or(0);
    let (first, last) = (number(address), number(address) | host);
    // A wider network contains IPv4-mapped addresses, but no peer address is one.
    let is_ipv4 = first >> 32 == 0xffff && host >> 32 == 0;

    let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
    let edges = edges.map(|edge| Ipv6Addr::from(edge).into());
    let others = lines.take(16).filter_map(|line| line.parse().ok());
    for address in others.chain(edges) {
        let number = number(address);
        let is_inside = (first..=last).contains(&number) && is_ipv4 == (number >> 32 == 0xffff);
        let allowed = allows(&access, HeaderMap::new(), Some(address));
        assert_eq!(allowed, is_inside, "{address} in {text}");
    }
});

/// An IPv4 address as the IPv4-mapped one.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
