//! Reads the client address from the headers of a trusted proxy. Pure: headers in, an address out.
//!
//! Each proxy appends the address of its peer to `x-forwarded-for` or `forwarded`. So the list grows to the
//! right, and the client may have written its left end. The last address that is not one of a trusted proxy is
//! the client address. `x-real-ip` contains one address. All headers that are present must name the same client.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

use super::network::contains;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_REAL_IP: &str = "x-real-ip";
/// In bytes. Longer headers are not read: a hundred addresses are shorter.
const MAX_LENGTH: usize = 4_096;

/// The client address in the headers of a trusted proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// No header names a client.
    Absent,
    /// A header is malformed, hides the address or is too long, or two headers disagree.
    Unreadable,
    Client(IpAddr),
}

pub(super) fn read(headers: &HeaderMap, trusted: &[IpNet]) -> Forwarded {
    let list = lines(headers, X_FORWARDED_FOR).map(|lines| client_of_list(&lines?, trusted));
    let elements = lines(headers, header::FORWARDED.as_str())
        .map(|lines| client_of_elements(&lines?, trusted));
    let single = lines(headers, X_REAL_IP).map(|lines| match *lines? {
        [line] => address(trim(line)),
        _ => None,
    });
    let mut clients = [list, elements, single].into_iter().flatten();
    match clients.next() {
        None => Forwarded::Absent,
        // A proxy that sets one header may forward others that the client has forged.
        Some(Some(client)) if clients.all(|other| other == Some(client)) => {
            Forwarded::Client(client)
        }
        Some(_) => Forwarded::Unreadable,
    }
}

/// Returns all lines of a header in their order. The inner `None` means that a line is unreadable.
fn lines<'h>(headers: &'h HeaderMap, name: &str) -> Option<Option<Vec<&'h str>>> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    let length: usize = lines.iter().map(HeaderValue::len).sum();
    if length > MAX_LENGTH {
        return Some(None);
    }
    Some(lines.iter().map(|line| line.to_str().ok()).collect())
}

fn client_of_list(lines: &[&str], trusted: &[IpNet]) -> Option<IpAddr> {
    let hops = lines.iter().flat_map(|line| line.split(','));
    last_untrusted(hops.map(|hop| address(trim(hop))).collect(), trusted)
}

fn client_of_elements(lines: &[&str], trusted: &[IpNet]) -> Option<IpAddr> {
    let mut hops = Vec::new();
    for line in lines {
        // Line by line: a quote that a client left open must not swallow the proxy's line.
        hops.extend(elements(line)?);
    }
    last_untrusted(hops, trusted)
}

/// Returns the last hop that is not a trusted proxy, otherwise the first hop. `None`: it is unreadable.
fn last_untrusted(hops: Vec<Option<IpAddr>>, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_proxy = |hop: &&Option<IpAddr>| hop.is_some_and(|hop| contains(trusted, hop));
    let last = hops.iter().rev().find(|hop| !is_proxy(hop));
    *last.or(hops.first())?
}

/// Parses an address as proxies write it: alone, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    // A zone is valid on the host of the proxy only.
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

/// Parses one line of `Forwarded` (RFC 7239). Returns the `for` address of each element.
///
/// The outer `None`: a pair is malformed, which makes all hops unreadable.
fn elements(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut hops = Vec::new();
    let mut hop = None;
    let mut text = line;
    loop {
        let (name, after) = trim(text).split_once('=')?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (value, after) = value(after)?;
        if name.eq_ignore_ascii_case("for") && hop.replace(address(value)).is_some() {
            return None;
        }
        let after = trim(after);
        if let Some(pair) = after.strip_prefix(';') {
            text = pair;
            continue;
        }
        hops.push(hop.take().flatten());
        match after.strip_prefix(',') {
            Some(element) => text = element,
            None => return after.is_empty().then_some(hops),
        }
    }
}

/// Parses a token or a quoted string. Returns it, and the text after it.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        // No address contains an escape, and no proxy has a reason to write one.
        return (!value.contains('\\')).then_some((value, rest));
    }
    let end = text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len());
    text.split_at_checked(end)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
