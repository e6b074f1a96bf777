//! `Accept`: there is always a format, and a range in front decides whatever follows it.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The file itself: it imports nothing, and no public name leads to it alone.
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

// Lines of the header; the length selects the fallback.
fuzz_target!(|text: &str| {
    let fallback = text.len() % OFFERS.len();
    let choose = |text: &str| accept::choose(text.split('\n'), OFFERS.into_iter(), fallback);
    assert!(choose(text) < OFFERS.len());
    assert_eq!(choose(text), choose(&text.to_ascii_uppercase()));
    for (index, offer) in OFFERS.into_iter().enumerate() {
        assert_eq!(choose(&format!("{offer}\n{text}")), index);
        let rejected = choose(&format!("{offer};q=0\n{text}"));
        assert!(rejected != index || index == fallback, "{offer}");
    }
    let none = accept::choose(text.split('\n'), [].into_iter(), fallback);
    assert_eq!(none, fallback);
});
