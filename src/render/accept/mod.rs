//! Which of several formats an `Accept` header asks for. Pure: text in, a number out.
//!
//! Rules, in evaluation order, after RFC 9110 section 12.5.1:
//!
//! 1. Each format's quality is that of the most specific range that covers it: the media type before
//!    `type/*` before `*/*`. Of equally specific ones the first counts. Zero refuses it.
//! 2. The highest quality wins.
//! 3. Among equals a format that is named wins over one that a wildcard covers, and then the one that
//!    comes first in the header.
//! 4. What one wildcard covers is equal: the format to fall back on wins, then the first.
//! 5. Nothing acceptable, or nothing that can be read: the format to fall back on. Never 406.
//!
//! A prober cares for the status code; refusing to answer for the sake of a form would take a
//! healthy app out of traffic.

#[cfg(test)]
mod properties;
mod range;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use self::range::{Range, Split, range};

/// A longer header is not read: browsers send 150 bytes.
const MAX_LENGTH: usize = 2_048;
/// More ranges are not read: browsers send eight.
const MAX_RANGES: usize = 32;

/// The index of the one of `offers`, media types without parameters, that the `Accept` `fields` ask for.
pub(crate) fn choose<'h>(
    fields: impl Iterator<Item = &'h str>,
    offers: impl Iterator<Item = &'h str>,
    fallback: usize,
) -> usize {
    let mut kept = [Range::NONE; MAX_RANGES];
    let mut count = 0;
    let mut length = 0;
    let fields = fields.take_while(|field| {
        length += field.len();
        length <= MAX_LENGTH
    });
    let ranges = fields.flat_map(|field| Split::new(field, b',')).map(range);
    // Malformed ones are read, too, and count.
    for range in ranges.take(MAX_RANGES).flatten() {
        kept[count] = range;
        count += 1;
    }
    let kept = &kept[..count];
    offers
        .enumerate()
        .filter_map(|(index, offer)| {
            let (kind, subkind) = offer.split_once('/')?;
            let covering = kept.iter().enumerate();
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
