//! Where a secret is cut out of error text on its way to the log.

/// What takes the place of a secret.
const MASK: &str = "***";

/// `text` without the user part of URLs and without the values of `password`-like keys.
pub(super) fn redact(text: &str) -> String {
    without_values(&without_user_info(text))
}

/// `scheme://user:secret@host` becomes `scheme://***@host`.
fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
            .unwrap_or(after.len());
        // The last one: a password may hold an `@` of its own.
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

/// `password=secret` becomes `password=***`, in any case and with quotes.
fn without_values(text: &str) -> String {
    const KEYS: [&str; 5] = ["password", "passwd", "pwd", "secret", "token"];
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((key_end, value_end)) = KEYS
        .iter()
        .filter_map(|key| next_value(&lower, at, key))
        .min()
    {
        out.push_str(&text[at..key_end]);
        out.push_str(MASK);
        at = value_end;
    }
    out + &text[at..]
}

/// Where the next value of `key` starts and ends, at or after `from`.
fn next_value(lower: &str, from: usize, key: &str) -> Option<(usize, usize)> {
    let mut search = from;
    loop {
        let end = search + lower[search..].find(key)? + key.len();
        let value = lower[end..].trim_start_matches('"');
        if let Some(value) = value.strip_prefix(['=', ':']) {
            let value = value.trim_start_matches(' ');
            let start = lower.len() - value.len();
            let length = match value.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    value[1..].find(quote).map_or(value.len(), |end| end + 2)
                }
                _ => value
                    .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '&'))
                    .unwrap_or(value.len()),
            };
            return Some((start, start + length));
        }
        search = end;
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_are_cut_and_the_rest_stays() {
        let table = [
            ("plain text", "plain text"),
            (
                "postgres://u:p@h:5432/db failed",
                "postgres://***@h:5432/db failed",
            ),
            ("redis://:p@ss@h/0", "redis://***@h/0"),
            ("http://host/path@x", "http://host/path@x"),
            ("a://u:p@h and b://v:q@i", "a://***@h and b://***@i"),
            (
                "host=h password=hunter2 user=u",
                "host=h password=*** user=u",
            ),
            ("PASSWORD='a b' x", "PASSWORD=*** x"),
            ("password: hunter2, next", "password: ***, next"),
            (r#"{"password":"x","y":1}"#, r#"{"password":***,"y":1}"#),
            (
                "password authentication failed",
                "password authentication failed",
            ),
            ("token=abc&secret=def", "token=***&secret=***"),
        ];
        for (text, expected) in table {
            assert_eq!(redact(text), expected);
        }
    }
}
