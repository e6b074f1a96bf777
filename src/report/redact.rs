//! Masks known forms of credentials in error text before it is logged.
//!
//! These are the user part of a URL, the value of a key such as `password` or `api_key`, and the credentials of
//! an `authorization` header. Ambiguous text is masked.

use std::{borrow::Cow, sync::Arc};

use super::one_line;

const MASK: &str = "***";

/// Keys whose values are masked, also inside longer keys such as `db_password` or `secret_key`.
const KEYS: [&str; 14] = [
    HEADER,
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "api_key",
    "api-key",
    "apikey",
    "access_key",
    "accesskey",
    "private_key",
];
const HEADER: &str = "authorization";
const SCHEME: &str = "bearer ";

/// Returns `text` with known forms of credentials masked.
pub(super) fn redact(text: &str) -> String {
    without_values(&without_user_info(text))
}

/// Returns `text` on one line of at most 256 bytes, with known forms of credentials masked.
pub(crate) fn without_credentials(text: String) -> Arc<str> {
    let line = one_line(Cow::Owned(redact(&text)));
    Arc::from(&*line)
}

/// Replaces `scheme://user:secret@host` by `scheme://***@host`.
fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        out.push_str(before);
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let authority = after.find(['/', '?', '#']).unwrap_or(end).min(end);
        // A password that is not encoded may contain a slash and an `@`.
        let has_password = after[..authority].contains(':');
        let end = if has_password { end } else { authority };
        rest = match after[..end].rfind('@') {
            Some(at) => {
                out.push_str(MASK);
                &after[at..]
            }
            None => after,
        };
    }
    out + rest
}

/// Replaces `password=secret` by `password=***`, in any case, with spaces and with quotes.
fn without_values(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(next) = lower[at..].chars().next() {
        match value_after(&lower, at) {
            Some((start, end)) => {
                out.push_str(&text[copied..start]);
                out.push_str(MASK);
                (copied, at) = (end, end);
            }
            None => at += next.len_utf8(),
        }
    }
    out + &text[copied..]
}

/// Returns the start and end of the credential that belongs to a key or a scheme at `at`.
fn value_after(lower: &str, at: usize) -> Option<(usize, usize)> {
    let rest = &lower[at..];
    let (value, length) = match KEYS.iter().find_map(|key| rest.strip_prefix(key)) {
        Some(after) => {
            let value = assigned(after)?;
            let length = match quoted(value) {
                Some(length) => length,
                // A scheme may be followed by several values.
                None if rest.starts_with(HEADER) => value.find(['\r', '\n']).unwrap_or(value.len()),
                None => unquoted(value),
            };
            (value, length)
        }
        None => {
            let token = rest.strip_prefix(SCHEME)?.trim_start_matches(' ');
            (token, Some(unquoted(token)).filter(|length| *length > 0)?)
        }
    };
    let start = lower.len() - value.len();
    Some((start, start + length))
}

/// Skips the rest of the key, its closing quote and spaces; returns the text after `=` or `:`.
fn assigned(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let text = text.trim_start_matches(['\\', '"', '\'', '`', ']']);
    let text = text.trim_start_matches([' ', '\t']);
    let text = text.strip_prefix(['=', ':'])?;
    Some(text.trim_start_matches(['>', ' ', '\t']))
}

/// Returns the length of a quoted string; all of `text` if its closing quote is missing.
///
/// In JSON inside of a string, both quotes are escaped.
fn quoted(text: &str) -> Option<usize> {
    let depth = text.bytes().take_while(|&byte| byte == b'\\').count();
    let quote = text[depth..]
        .chars()
        .next()
        .filter(|c| "'\"`".contains(*c))?;
    let mut backslashes = 0;
    for (at, c) in text.char_indices().skip(depth + 1) {
        if c == quote && backslashes % (2 * (depth + 1)) == depth {
            return Some(at + 1);
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    Some(text.len())
}

/// Returns the length up to the next space that is not escaped: a password may contain commas.
fn unquoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let ends = c.is_whitespace() && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::redact;

    #[test]
    fn credentials_are_masked_and_other_text_stays() {
        let table = [
            ("plain text", "plain text"),
            (
                "postgres://u:p@h:5432/db failed",
                "postgres://***@h:5432/db failed",
            ),
            ("redis://:p@ss@h/0", "redis://***@h/0"),
            ("postgres://app:p/ss@db", "postgres://***@db"),
            ("postgres://app:p?s#s@db/x y@z", "postgres://***@db/x y@z"),
            ("redis://:p/'w@db", "redis://***@db"),
            ("http://host/path@x", "http://host/path@x"),
            ("http://host:8080/path", "http://host:8080/path"),
            ("a://u:p@h and b://v:q@i", "a://***@h and b://***@i"),
            (
                "host=h password=hunter2 user=u",
                "host=h password=*** user=u",
            ),
            (
                "host=h password = hunter2 user=u",
                "host=h password = *** user=u",
            ),
            (r"password=a\ b,c user=u", "password=*** user=u"),
            ("PASSWORD='a b' x", "PASSWORD=*** x"),
            ("password: hunter2 next", "password: *** next"),
            (r#"{"password":"x","y":1}"#, r#"{"password":***,"y":1}"#),
            (r#"{"password" : "x","y":1}"#, r#"{"password" : ***,"y":1}"#),
            (r#"password="a\"b c" x"#, "password=*** x"),
            (r#"password="a\\" x"#, "password=*** x"),
            (r"password='it\'s' x", "password=*** x"),
            (
                r#"body "{\"password\": \"a\\\"b c\", \"y\": 1}""#,
                r#"body "{\"password\": ***, \"y\": 1}""#,
            ),
            (r#"password="never closed x"#, "password=***"),
            ("Authorization: Bearer abc.def", "Authorization: ***"),
            (
                "authorization: Digest a=\"b\", c\nnext",
                "authorization: ***\nnext",
            ),
            (
                r#"{"authorization": "Basic eHg="} x"#,
                r#"{"authorization": ***} x"#,
            ),
            ("sent Bearer abc.def to h", "sent Bearer *** to h"),
            ("api_key=x y", "api_key=*** y"),
            ("x-api-key: x y", "x-api-key: *** y"),
            (
                "DB_PASSWORD=x SECRET_KEY=y z",
                "DB_PASSWORD=*** SECRET_KEY=*** z",
            ),
            ("token=abc&secret=def", "token=***"),
            (
                "password authentication failed",
                "password authentication failed",
            ),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                "WRONGPASS invalid username-password pair or user is disabled.",
            ),
            ("unexpected token at line 3", "unexpected token at line 3"),
            ("expected Bearer ", "expected Bearer "),
        ];
        for (text, expected) in table {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    fn key() -> impl Strategy<Value = String> {
        let keys = [
            "password",
            "Password",
            "db_passwd",
            "pwd",
            "client_secret",
            "auth-token",
            "API_KEY",
        ];
        select(keys.to_vec()).prop_map(str::to_owned)
    }

    /// Passwords of characters with a meaning in URLs, keys or quotes.
    fn secret() -> impl Strategy<Value = String> {
        let pieces = [
            "zq", "/", "@", ":", ",", ";", "&", "?", "#", "=", "é", "%40", "$", "}",
        ];
        vec(select(pieces.to_vec()), 0..8).prop_map(|pieces| format!("zq{}zq", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn no_secret_after_a_known_key_survives(
            key in key(),
            secret in secret(),
            before in "[a-y ,;:=\"'\\\\{}/]{0,12}",
            after in "( [a-y ,;:=\"'\\\\{}/]{0,12})?",
        ) {
            let quoted = secret.replace('\\', r"\\");
            let credentials = [
                format!("postgres://app:{secret}@db:5432/app"),
                format!("redis://:{secret}@cache"),
                format!("{key}={secret}"),
                format!("{key} = {secret}"),
                format!("{key}: {secret}"),
                format!("{key}='{quoted} zq'"),
                format!("\"{key}\" : \"{quoted}\\\" zq\""),
                format!("\\\"{key}\\\": \\\"{quoted}\\\\\\\" zq\\\""),
                format!("Bearer {secret}"),
                format!("authorization: Basic {secret}"),
            ];
            for credential in credentials {
                let text = format!("{before} {credential}{after}");
                let masked = redact(&text);
                prop_assert!(!masked.contains("zq"), "{text} => {masked}");
            }
        }

        #[test]
        fn any_text_is_masked_without_a_panic(text in "\\PC{0,80}") {
            let masked = redact(&text);
            prop_assert!(masked.len() <= text.len() + 3 * text.len());
        }
    }
}
