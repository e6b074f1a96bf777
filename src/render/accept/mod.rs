//! Chooses one of several formats by an `Accept` header. Pure: text in, an index out.
//!
//! Rules, in evaluation order, after RFC 9110 section 12.5.1:
//!
//! 1. The quality of a format is that of the most specific range that covers it: the media type before
//!    `type/*` before `*/*`. Of equally specific ranges the first counts. Quality 0 rejects the format.
//! 2. The highest quality wins.
//! 3. Among equals, a named format wins over a format that a wildcard covers, then the first in the header.
//! 4. Of formats that one wildcard covers, the fallback wins, then the first.
//! 5. If no format is acceptable, or the header is malformed, the fallback wins. The code is never 406, which
//!    would remove a healthy app from rotation.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

/// Longer headers are not read; browsers send 150 bytes.
const MAX_LENGTH: usize = 2_048;
/// More ranges are not read; browsers send eight.
const MAX_RANGES: usize = 32;
/// In thousandths, because a quality has up to three decimals.
const FULL_QUALITY: u16 = 1_000;

/// Returns the index of the media type among `offers` that `fields` prefer.
///
/// The media types have no parameters.
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
    let ranges = fields
        .flat_map(|field| split_unquoted(field, ','))
        .map(media_range);
    // On the stack, because cached probes allocate nothing. Malformed ranges count, too.
    let mut first_ranges = [None; MAX_RANGES];
    for (slot, range) in first_ranges.iter_mut().zip(ranges) {
        *slot = range;
    }
    offers
        .enumerate()
        .filter_map(|(index, offer)| {
            let (kind, subkind) = offer.split_once('/')?;
            let covering = first_ranges.iter().flatten().enumerate();
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
struct MediaRange<'h> {
    kind: &'h str,
    subkind: &'h str,
    quality: u16,
}

impl MediaRange<'_> {
    /// Returns how precisely the range names `kind/subkind`; `None` if it does not cover it.
    fn precision(&self, kind: &str, subkind: &str) -> Option<u8> {
        match (self.kind, self.subkind) {
            ("*", "*") => Some(0),
            (own, _) if !own.eq_ignore_ascii_case(kind) => None,
            (_, "*") => Some(1),
            (_, own) => own.eq_ignore_ascii_case(subkind).then_some(2),
        }
    }
}

/// Parses one element; `None` if it is malformed.
fn media_range(element: &str) -> Option<MediaRange<'_>> {
    let mut parts = split_unquoted(element, ';').map(|part| part.trim_matches([' ', '\t']));
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
    // `text/plain;version=0.0.4` is the older text format of Prometheus. A scraper that requests it also reads
    // OpenMetrics, but not our plain text.
    let is_plain = kind.eq_ignore_ascii_case("text") && subkind.eq_ignore_ascii_case("plain");
    let (kind, subkind) = match versioned && is_plain {
        true => ("application", "openmetrics-text"),
        false => (kind, subkind),
    };
    Some(MediaRange {
        kind,
        subkind,
        quality,
    })
}

/// Parses a quality of 0 to 1 with at most three decimals, in thousandths.
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

/// Splits `text` at separators outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let splits = c == separator && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        splits
    })
}
