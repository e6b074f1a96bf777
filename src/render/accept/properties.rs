//! Whatever a header says, one of the offers is chosen.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    choose,
    tests::{JSON, OFFERS, chosen},
};

/// Something near a header, so that most of it can be read.
fn header() -> impl Strategy<Value = String> {
    let pieces = [
        "text/plain",
        "text/html",
        "text/*",
        "*/*",
        "application/json",
        "image/png",
        "TEXT",
        "/",
        "*",
        ",",
        ", ",
        ";",
        "; ",
        "q=",
        "Q=0.5",
        "q=0",
        "q=1.000",
        "0.25",
        "version=1",
        "\"",
        "\\",
        "a=\",\"",
        " ",
        "\t",
        "é",
    ];
    vec(select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn whatever_is_asked_for_something_is_chosen(
        fields in vec(prop_oneof![header(), ".{0,40}"], 0..4),
        fallback in 0..OFFERS.len(),
    ) {
        let fields = fields.iter().map(String::as_str);
        prop_assert!(choose(fields, OFFERS.into_iter(), fallback) < OFFERS.len());
    }

    #[test]
    fn naming_one_alone_chooses_it(
        offer in 0..OFFERS.len(),
        fallback in 0..OFFERS.len(),
        quality in 1..=1_000_u32,
        others in vec("(image|audio)/[a-z]{1,8}", 0..8),
    ) {
        let header = format!("{}, {};q={}.{:03}", others.join(","), OFFERS[offer], quality / 1_000, quality % 1_000);
        prop_assert_eq!(chosen(&header, fallback), offer, "{}", header);
    }

    #[test]
    fn a_field_cut_in_lines_is_the_same_header(parts in vec("(text|application|\\*)/(plain|json|html|\\*)(;q=0(\\.[0-9]{1,3})?)?", 1..8)) {
        let lines = parts.iter().map(String::as_str);
        prop_assert_eq!(choose(lines, OFFERS.into_iter(), JSON), chosen(&parts.join(","), JSON));
    }
}
