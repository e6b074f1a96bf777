//! Bearer tokens: a caller is allowed by the bytes of one of them, and by nothing else.

#![no_main]

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use tower_health::Access;
use tower_health_fuzz::allows;

// The header, and then the tokens, one a line.
fuzz_target!(|text: &str| {
    let (sent, tokens) = text.split_once('\n').unwrap_or((text, ""));
    let is_token = |token: &&str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let tokens: Vec<&str> = tokens.split('\n').filter(is_token).take(8).collect();
    let access = Access::bearer(tokens.iter().copied());
    let printed = format!("{access:?}");
    assert_eq!(printed, format!("{:?}", Access::bearer(["another"])));

    let is_allowed = |sent: &str| {
        let value = HeaderValue::from_bytes(sent.as_bytes());
        let headers = value.map(|value| HeaderMap::from_iter([(AUTHORIZATION, value)]));
        headers.is_ok_and(|headers| allows(&access, headers, None))
    };
    let (scheme, token) = sent.split_at_checked(7).unwrap_or_default();
    let expected = scheme.eq_ignore_ascii_case("bearer ") && tokens.contains(&token);
    assert_eq!(is_allowed(sent), expected);
    for token in tokens {
        assert!(is_allowed(&format!("Bearer {token}")));
    }
    assert!(!allows(&access, HeaderMap::new(), None));
});
