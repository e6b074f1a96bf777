use proptest::{collection::vec, prelude::*, sample::select};

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
fn real_clients_get_the_format_that_they_prefer() {
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
        // Prometheus 3, 2, and one configured to request the old text alone.
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
        ("text/html;version=1, application/json;q=0.5", HTML),
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
        // Quality 0 rejects a format that a wildcard covers.
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
fn unknown_and_malformed_ranges_get_the_fallback() {
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
fn a_wildcard_selects_the_fallback_if_it_covers_it() {
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
fn quoted_separators_do_not_separate() {
    let table = [
        (
            r#"text/plain;x="a,text/html;q=1";q=0.1, application/json;q=0.2"#,
            JSON,
        ),
        (r#"text/plain;x="\"";q=0.1, application/json;q=0.2"#, JSON),
        (r#"text/plain;x="\\";q=0.1, application/json;q=0.2"#, JSON),
        // Outside of quotes a backslash is a character.
        (r#"text/plain;q=0.1;x=\", application/json"#, TEXT),
        // The quote is not closed, so all text after it is quoted.
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

/// Text near a header, so that most of it can be read.
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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn the_chosen_index_is_always_valid(
        fields in vec(prop_oneof![header(), ".{0,40}"], 0..4),
        fallback in 0..OFFERS.len(),
    ) {
        let fields = fields.iter().map(String::as_str);
        prop_assert!(choose(fields, OFFERS.into_iter(), fallback) < OFFERS.len());
    }

    #[test]
    fn the_only_offer_that_is_named_is_chosen(
        offer in 0..OFFERS.len(),
        fallback in 0..OFFERS.len(),
        quality in 1..=1_000_u32,
        others in vec("(image|audio)/[a-z]{1,8}", 0..8),
    ) {
        let header = format!("{}, {};q={}.{:03}", others.join(","), OFFERS[offer], quality / 1_000, quality % 1_000);
        prop_assert_eq!(chosen(&header, fallback), offer, "{}", header);
    }

    #[test]
    fn a_list_in_several_fields_is_the_same_header(parts in vec("(text|application|\\*)/(plain|json|html|\\*)(;q=0(\\.[0-9]{1,3})?)?", 1..8)) {
        let lines = parts.iter().map(String::as_str);
        prop_assert_eq!(choose(lines, OFFERS.into_iter(), JSON), chosen(&parts.join(","), JSON));
    }
}
