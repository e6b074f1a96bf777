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

use std::cmp::Reverse;

/// A longer header is not read: browsers send 150 bytes.
const MAX_LENGTH: usize = 2_048;
/// More ranges are not read: browsers send eight.
const MAX_RANGES: usize = 32;
/// In thousandths, as the header has them.
const FULL_QUALITY: u16 = 1_000;

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

/// One element of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range<'h> {
    kind: &'h str,
    subkind: &'h str,
    quality: u16,
}

impl Range<'_> {
    const NONE: Self = Self {
        kind: "",
        subkind: "",
        quality: 0,
    };

    /// How precisely it names `kind/subkind`; `None` where it does not.
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

/// Reads one element; `None` where it is malformed.
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
    // `text/plain;version=0.0.4` is Prometheus' older text, which a scraper that says
    // so reads as OpenMetrics, too. It is no wish for prose.
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

/// The parts of a text between separators that are in no quoted string.
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

#[cfg(test)]
mod tests {
    use super::{MAX_LENGTH, MAX_RANGES, choose, thousandths};

    const OFFERS: [&str; 6] = [
        "application/json",
        "application/health+json",
        "application/vnd.spring-boot.actuator.v3+json",
        "text/plain",
        "application/openmetrics-text",
        "text/html",
    ];
    const JSON: usize = 0;
    const HEALTH: usize = 1;
    const SPRING: usize = 2;
    const TEXT: usize = 3;
    const METRICS: usize = 4;
    const HTML: usize = 5;

    fn chosen(header: &str, fallback: usize) -> usize {
        choose([header].into_iter(), OFFERS.into_iter(), fallback)
    }

    #[test]
    fn real_clients_get_what_they_ask_for() {
        let table = [
            // curl, kubelet, ALB.
            ("*/*", JSON),
            // Chromium and Firefox.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
                HTML,
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                HTML,
            ),
            // axios.
            ("application/json, text/plain, */*", JSON),
            // Spring Boot Admin.
            (
                "application/vnd.spring-boot.actuator.v3+json, \
                 application/vnd.spring-boot.actuator.v2+json, application/json",
                SPRING,
            ),
            // Prometheus 3, 2, and one that was told to ask for the old text alone.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                METRICS,
            ),
            (
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                METRICS,
            ),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", METRICS),
            // wget on a page, links, busybox.
            ("text/html, text/*;q=0.5, */*;q=0.1", HTML),
        ];
        for (header, expected) in table {
            assert_eq!(chosen(header, JSON), expected, "{header}");
        }
    }

    #[test]
    fn quality_then_precision_then_order_decide() {
        let table = [
            ("text/plain", TEXT),
            ("TEXT/Plain", TEXT),
            (" text/plain ", TEXT),
            ("text/plain;charset=utf-8", TEXT),
            ("text/plain; charset=\"a,b;q=0\"", TEXT),
            ("text/plain ; q=0.1 , application/health+json;q=0.2", HEALTH),
            ("text/plain;q=0.2,application/health+json;q=0.1", TEXT),
            ("text/plain,application/health+json", TEXT),
            ("application/health+json,text/plain", HEALTH),
            ("*/*,application/health+json", HEALTH),
            ("*/*;q=0.9,application/health+json;q=0.8", JSON),
            ("text/*,application/json;q=0.9", TEXT),
            ("text/*", TEXT),
            ("application/*", JSON),
            ("application/*, application/json;q=0.5", HEALTH),
            // Refused with zero, though a wildcard would take it.
            ("application/json;q=0, */*", HEALTH),
            ("*/*, application/json;q=0", HEALTH),
            ("text/plain;q=0.000, text/*", HTML),
            ("text/plain;Q=0.5, text/html;q=0.4", TEXT),
        ];
        for (header, expected) in table {
            assert_eq!(chosen(header, JSON), expected, "{header}");
        }
    }

    #[test]
    fn what_cannot_be_served_or_read_gets_the_fallback() {
        let many = "image/png,".repeat(MAX_RANGES) + "text/plain";
        let long = format!("image/{},text/plain", "x".repeat(MAX_LENGTH));
        for header in [
            "",
            ",",
            ",,,",
            "*",
            "*/json",
            "image/png",
            "application/*;q=0, text/*;q=0",
            "*/*;q=0",
            "application/json;q=0",
            "text/plain;q=2",
            "text/plain;q=1.001",
            "text/plain;q=0.0001",
            "text/plain;q=-1",
            "text/plain;q=",
            "text/plain;q=0,5",
            "text/plain;q=nan",
            "text/plain;q=\"1\"",
            "text/plain;a=\"",
            "text /plain",
            "text",
            "/",
            "text/",
            "text/plainer",
            "tex/plain",
            "\"text/plain",
            &many,
            &long,
        ] {
            let expected = if header.contains("a=") { TEXT } else { JSON };
            assert_eq!(chosen(header, JSON), expected, "{header:?}");
        }
    }

    #[test]
    fn a_wildcard_takes_the_fallback_where_it_covers_that() {
        for (header, fallback, expected) in [
            ("*/*", TEXT, TEXT),
            ("text/*", TEXT, TEXT),
            ("text/*", HTML, HTML),
            ("application/*", TEXT, JSON),
            ("application/*", SPRING, SPRING),
            ("image/png", SPRING, SPRING),
            ("application/json, text/plain, */*", SPRING, JSON),
            ("*/*;q=0.1, text/plain;q=0", TEXT, JSON),
        ] {
            assert_eq!(chosen(header, fallback), expected, "{header} {fallback}");
        }
    }

    #[test]
    fn several_fields_are_one_header() {
        let fields = ["image/png", "text/plain;q=0.5", "text/html"];
        assert_eq!(choose(fields.into_iter(), OFFERS.into_iter(), JSON), HTML);
        assert_eq!(choose([].into_iter(), OFFERS.into_iter(), TEXT), TEXT);
    }

    #[test]
    fn what_is_quoted_separates_nothing() {
        let table = [
            (
                r#"text/plain;x="a,text/html;q=1";q=0.1, application/json;q=0.2"#,
                JSON,
            ),
            (r#"text/plain;x="\"";q=0.1, application/json;q=0.2"#, JSON),
            (r#"text/plain;x="\\";q=0.1, application/json;q=0.2"#, JSON),
            // Outside of quotes a backslash is a character.
            (r"text/x\,text/plain", TEXT),
            // Nobody's: whatever follows belongs to it.
            (r#"text/plain;x="a, application/json"#, TEXT),
        ];
        for (header, expected) in table {
            assert_eq!(chosen(header, HTML), expected, "{header}");
        }
    }

    #[test]
    fn a_quality_has_three_decimals_at_most() {
        let table = [
            ("0", Some(0)),
            ("1", Some(1_000)),
            ("1.", Some(1_000)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.005", Some(5)),
            ("0.999", Some(999)),
            ("1.000", Some(1_000)),
            ("1.1", None),
            ("0.0000", None),
            ("00.1", None),
            (".5", None),
            ("0.5 ", None),
            ("+1", None),
        ];
        for (text, expected) in table {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
