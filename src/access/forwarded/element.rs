//! The elements of `Forwarded`, RFC 7239: pairs between semicolons, elements between commas.
//!
//! Strict, from left to right: what is malformed anywhere is malformed as a whole.

use std::net::IpAddr;

use super::{address, trim};

/// The `for` of each element of one line; `None` where the line is malformed.
pub(super) struct Elements<'h> {
    rest: Option<&'h str>,
}

impl<'h> Elements<'h> {
    pub(super) fn of(line: &'h str) -> Self {
        Self { rest: Some(line) }
    }
}

impl Iterator for Elements<'_> {
    type Item = Option<Option<IpAddr>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        Some(element(rest).map(|(hop, rest)| {
            self.rest = rest;
            hop
        }))
    }
}

/// Reads pairs up to a comma: whom they are for, and what follows the comma.
fn element(mut text: &str) -> Option<(Option<IpAddr>, Option<&str>)> {
    let mut hop = None;
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
        match after.split_at_checked(1) {
            None => return Some((hop.flatten(), None)),
            Some((",", rest)) => return Some((hop.flatten(), Some(rest))),
            Some((";", rest)) => text = rest,
            Some(_) => return None,
        }
    }
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        // No address has an escape in it, and no proxy a reason to write one.
        return (!value.contains('\\')).then_some((value, rest));
    }
    let end = text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len());
    text.split_at_checked(end)
}
