//! `Accept`: the same format as by the rules written down plainly, and never none.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The files themselves: they import nothing, and no public name leads to it alone.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../src/render/accept/mod.rs"]
mod accept;

const OFFERS: [&str; 6] = [
    "application/json",
    "application/health+json",
    "application/vnd.spring-boot.actuator.v3+json",
    "text/plain",
    "application/openmetrics-text",
    "text/html",
];

// Lines of the header; the length decides on what to fall back.
fuzz_target!(|text: &str| {
    let fallback = text.len() % OFFERS.len();
    let chosen = accept::choose(text.split('\n'), OFFERS.into_iter(), fallback);
    assert!(chosen < OFFERS.len());
    let none = accept::choose(text.split('\n'), [].into_iter(), fallback);
    assert_eq!(none, fallback);
    // Quotes and bounds are the module's own tests' affair.
    if text.len() < 1_024 && !text.contains(['"', '\\']) && text.split([',', '\n']).count() <= 32 {
        assert_eq!(chosen, plainly(text, fallback));
    }
});

/// The highest of (quality, how precisely named, how early named), with the fallback first.
fn plainly(text: &str, fallback: usize) -> usize {
    let ranges: Vec<_> = text.split([',', '\n']).map(range).collect();
    let mut best = None;
    let first = std::iter::once(fallback);
    for index in first.chain((0..OFFERS.len()).filter(|index| *index != fallback)) {
        let (kind, _) = OFFERS[index].split_once('/').expect("a media type");
        let wanted = [
            OFFERS[index].to_owned(),
            format!("{kind}/*"),
            "*/*".to_owned(),
        ];
        let named = wanted.iter().enumerate().find_map(|(distance, wanted)| {
            let is_it = |range: &Option<(String, u16)>| {
                range.as_ref().is_some_and(|(name, _)| name == wanted)
            };
            let place = ranges.iter().position(is_it)?;
            let (_, quality) = ranges[place].as_ref()?;
            Some((*quality, 3 - distance, ranges.len() - place))
        });
        if let Some(rank) = named.filter(|(quality, ..)| *quality > 0)
            && best.is_none_or(|(other, _)| rank > other)
        {
            best = Some((rank, index));
        }
    }
    best.map_or(fallback, |(_, index)| index)
}

fn range(element: &str) -> Option<(String, u16)> {
    let mut parts = element
        .split(';')
        .map(|part| part.trim_matches([' ', '\t']));
    let mut name = parts.next()?.to_ascii_lowercase();
    let mut quality = 1_000;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if key.eq_ignore_ascii_case("q") && part.contains('=') {
            quality = thousandths(value)?;
        } else if key.eq_ignore_ascii_case("version") && part.contains('=') && name == "text/plain"
        {
            name = "application/openmetrics-text".to_owned();
        }
    }
    Some((name, quality))
}

/// By the grammar of RFC 9110: `0[.ddd]` or `1[.000]`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_at_checked(1)?;
    let decimals = match decimals {
        "" => "",
        _ => decimals
            .strip_prefix('.')
            .filter(|decimals| decimals.len() <= 3)?,
    };
    let is_number = decimals.bytes().all(|byte| byte.is_ascii_digit());
    let quality: u16 = format!("{whole}{decimals:0<3}")
        .parse()
        .ok()
        .filter(|_| is_number)?;
    (["0", "1"].contains(&whole) && quality <= 1_000).then_some(quality)
}
