//! Bearer tokens: one opens by its own bytes, and a token that no header can bring is refused.

#![no_main]

use std::{
    cell::Cell,
    panic::{catch_unwind, set_hook, take_hook},
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use tower_health::Access;
use tower_health_fuzz::allows;

thread_local! {
    /// A refusal is a panic, and no finding.
    static MAY_PANIC: Cell<bool> = const { Cell::new(false) };
}

// The header, and then the tokens, one a line.
fuzz_target!(
    init: {
        let fails = take_hook();
        set_hook(Box::new(move |info| {
            if !MAY_PANIC.get() {
                fails(info);
            }
        }));
    },
    |text: &str| {
        let (sent, tokens) = text.split_once('\n').unwrap_or((text, ""));
        let tokens: Vec<&str> = tokens.split('\n').take(8).collect();
        let is_token = |token: &&str| !token.is_empty() && token.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        MAY_PANIC.set(true);
        let access = catch_unwind(|| Access::bearer(tokens.iter().copied()));
        MAY_PANIC.set(false);
        match access {
            Err(panic) => {
                let message = panic.downcast_ref::<String>().expect("a message");
                let place = tokens.iter().position(|token| !is_token(token)).expect("none is wrong");
                let expected = format!("bearer token number {} ", place + 1);
                assert!(message.starts_with(&expected), "{message}");
            }
            Ok(access) => {
                assert!(tokens.iter().all(|token| is_token(token)));
                let printed = format!("{access:?}");
                assert_eq!(printed, format!("{:?}", Access::bearer(["another"])));
                let Ok(value) = HeaderValue::from_bytes(sent.as_bytes()) else {
                    return;
                };
                let (scheme, token) = sent.split_at_checked(7).unwrap_or_default();
                let expected = scheme.eq_ignore_ascii_case("bearer ") && tokens.contains(&token);
                let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                assert_eq!(allows(access.clone(), headers, None), expected);
                assert!(!allows(access.clone(), HeaderMap::new(), None));
                for token in tokens {
                    let value = format!("Bearer {token}").parse().expect("of a token");
                    assert!(allows(access.clone(), HeaderMap::from_iter([(AUTHORIZATION, value)]), None));
                }
            }
        }
    }
);
