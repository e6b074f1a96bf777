//! Whom a trusted proxy speaks for. Pure: headers in, an address out.
//!
//! Each proxy appends the address that it was asked from, so the list grows to the
//! right and its left end is whatever a stranger wrote. Of all addresses the last one
//! that is no trusted proxy's is the client's. Anything that cannot be read there is
//! nobody's.

mod element;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

use self::element::Elements;
use super::network::contains;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_REAL_IP: &str = "x-real-ip";
/// Longer headers are not read: a hundred addresses have room.
const MAX_LENGTH: usize = 4_096;

/// The client that `peer`, a trusted proxy, speaks for.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> Option<IpAddr> {
    let lists = lines(headers, X_FORWARDED_FOR);
    let elements = lines(headers, header::FORWARDED.as_str());
    match (lists, elements) {
        (None, None) => {
            // Not for itself, and it does not say for whom.
            let speaks = headers.contains_key(header::VIA) || headers.contains_key(X_REAL_IP);
            (!speaks).then_some(peer)
        }
        (Some(lists), None) => of_lists(&lists?, trusted),
        (None, Some(elements)) => of_elements(&elements?, trusted),
        // A proxy that sets one passes the other on as a stranger wrote it.
        (Some(lists), Some(elements)) => {
            let client = of_lists(&lists?, trusted)?;
            (of_elements(&elements?, trusted)? == client).then_some(client)
        }
    }
}

/// All lines of a header, from left to right; an inner `None` where they cannot be read.
fn lines<'h>(headers: &'h HeaderMap, name: &str) -> Option<Option<Vec<&'h str>>> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    let length: usize = lines.iter().map(HeaderValue::len).sum();
    if length > MAX_LENGTH {
        return Some(None);
    }
    Some(lines.iter().map(|line| line.to_str().ok()).collect())
}

fn of_lists(lines: &[&str], trusted: &[IpNet]) -> Option<IpAddr> {
    let hops = lines.iter().flat_map(|line| line.split(','));
    last_stranger(hops.map(|hop| Some(address(trim(hop)))), trusted)
}

fn of_elements(lines: &[&str], trusted: &[IpNet]) -> Option<IpAddr> {
    // Line by line: a quote that a stranger left open must not swallow the proxy's line.
    last_stranger(lines.iter().flat_map(|line| Elements::of(line)), trusted)
}

/// The last hop that is no trusted proxy's, or else the first one.
///
/// An inner `None` is a hop that cannot be read; an outer one spoils the whole.
fn last_stranger(
    hops: impl Iterator<Item = Option<Option<IpAddr>>>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut last = None;
    for hop in hops {
        let hop = hop?;
        let is_proxy = hop.is_some_and(|hop| contains(trusted, hop));
        if last.is_none() || !is_proxy {
            last = Some(hop);
        }
    }
    last?
}

/// An address as proxies write it: alone, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    // A zone means something on the proxy's host and nothing here.
    if text.contains('%') {
        return None;
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .filter(|text| text.contains(':'))
        .unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    Some(address?.to_canonical())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
