//! Chooses one of several formats by an `Accept` header. Pure: text in, an index out.
//!
//! Rules, in evaluation order, after RFC 9110 section 12.5.1:
//!
//! 1. The quality of a format is that of the most specific range that covers it: the media type before
//!    `type/*` before `*/*`. Of equally specific ranges the first counts. Zero refuses the format.
//! 2. The highest quality wins.
//! 3. Among equals a named format wins over one that a wildcard covers, then the first in the header.
//! 4. Of formats that one wildcard covers, the fallback wins, then the first.
//! 5. If nothing is acceptable or readable, the fallback. Never 406: a prober needs the status code, and
//!    refusing to answer would take a healthy app out of rotation.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

/// Longer headers are not read; browsers send 150 bytes.
const MAX_LENGTH: usize = 2_048;
/// More ranges are not read; browsers send eight.
const MAX_RANGES: usize = 32;
/// In thousandths, as the header has them.
const FULL_QUALITY: u16 = 1_000;

/// Returns the index of the one of `offers`, media types without parameters, that `fields` prefer.
pub(crate) fn choose<'h>(
    fields: impl Iterator<Item = &'h str>,
    offers: impl Iterator<Item = &'h str>,
    fallback: usize,
) -> usize {
    let mut length = 0;
    let fields = fields.take_while(|field| {
        length += field.len();
        length <= MAX_LENGTH
    });
    let ranges = fields.flat_map(|field| Split::new(field, b',')).map(range);
    // On the stack, because probes are answered without an allocation. Malformed ranges count, too.
    let mut kept = [None; MAX_RANGES];
    for (place, range) in kept.iter_mut().zip(ranges) {
        *place = range;
    }
    offers
        .enumerate()
        .filter_map(|(index, offer)| {
            let (kind, subkind) = offer.split_once('/')?;
            let covering = kept.iter().flatten().enumerate();
            let (precision, order, quality) = covering
                .filter_map(|(order, range)| {
                    let precision = range.precision(kind, subkind)?;
                    Some((precision, Reverse(order), range.quality))
                })
                .max()?;
            let preferred = (index == fallback, Reverse(index));
            (quality > 0).then_some(((quality, precision, order, preferred), index))
        })
        .max()
        .map_or(fallback, |(_, index)| index)
}

/// One element of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range<'h> {
    kind: &'h str,
    subkind: &'h str,
    quality: u16,
}

impl Range<'_> {
    /// How precisely it names `kind/subkind`; `None` if it does not.
    fn precision(&self, kind: &str, subkind: &str) -> Option<u8> {
        match (self.kind, self.subkind) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subkind) => {
                Some(2)
            }
            _ => None,
        }
    }
}

/// Reads one element; `None` if it is malformed.
fn range(element: &str) -> Option<Range<'_>> {
    let mut parts = Split::new(element, b';').map(|part| part.trim_matches([' ', '\t']));
    let (kind, subkind) = parts.next()?.split_once('/')?;
    let mut quality = FULL_QUALITY;
    let mut versioned = false;
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("q") => {
                quality = thousandths(value)?;
            }
            Some((name, _)) if name.eq_ignore_ascii_case("version") => versioned = true,
            _ => {}
        }
    }
    // `text/plain;version=0.0.4` is Prometheus' older text format. A scraper that asks for it reads
    // OpenMetrics, too, and not prose.
    if versioned && kind.eq_ignore_ascii_case("text") && subkind.eq_ignore_ascii_case("plain") {
        return Some(Range {
            kind: "application",
            subkind: "openmetrics-text",
            quality,
        });
    }
    Some(Range {
        kind,
        subkind,
        quality,
    })
}

/// A quality of 0 to 1 with three decimals at most, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts = [100, 10, 1].iter().zip(decimals.bytes());
    let parts = parts
        .map(|(place, digit)| place * u16::from(digit - b'0'))
        .sum();
    match whole {
        "0" => Some(parts),
        "1" if parts == 0 => Some(FULL_QUALITY),
        _ => None,
    }
}

/// The parts of a text between separators outside of quoted strings.
struct Split<'h> {
    rest: Option<&'h str>,
    separator: u8,
}

impl<'h> Split<'h> {
    fn new(text: &'h str, separator: u8) -> Self {
        Self {
            rest: Some(text),
            separator,
        }
    }
}

impl<'h> Iterator for Split<'h> {
    type Item = &'h str;

    fn next(&mut self) -> Option<&'h str> {
        let text = self.rest?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                byte if byte == self.separator && !quoted => {
                    self.rest = Some(&text[at + 1..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(text)
    }
}
