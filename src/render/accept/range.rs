//! One element of an `Accept` header.

/// In thousandths, as the header has them.
const FULL_QUALITY: u16 = 1_000;

/// One element of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range<'h> {
    kind: &'h str,
    subkind: &'h str,
    pub(super) quality: u16,
}

impl Range<'_> {
    /// What stands where nothing was read.
    pub(super) const NONE: Self = Self {
        kind: "",
        subkind: "",
        quality: 0,
    };

    /// How precisely it names `kind/subkind`; `None` where it does not.
    pub(super) fn precision(&self, kind: &str, subkind: &str) -> Option<u8> {
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
pub(super) fn range(element: &str) -> Option<Range<'_>> {
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
pub(super) fn thousandths(text: &str) -> Option<u16> {
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
pub(super) struct Split<'h> {
    rest: Option<&'h str>,
    separator: u8,
}

impl<'h> Split<'h> {
    pub(super) fn new(text: &'h str, separator: u8) -> Self {
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
