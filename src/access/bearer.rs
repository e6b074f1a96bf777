use std::sync::Arc;

use http::header;
use subtle::{Choice, ConstantTimeEq};

use super::RequestHead;

/// Tokens, each of which grants access. Never printed.
#[derive(Clone)]
pub(super) struct Tokens(Arc<[Box<[u8]>]>);

impl Tokens {
    /// `tokens`, or the position of the first invalid one, counted from 1, and why it is invalid.
    pub(super) fn new<T: Into<String>>(
        tokens: impl IntoIterator<Item = T>,
    ) -> Result<Self, (usize, &'static str)> {
        let tokens: Arc<[_]> = tokens
            .into_iter()
            .map(|token| token.into().into_bytes().into_boxed_slice())
            .collect();
        for (place, token) in (1..).zip(tokens.iter()) {
            if token.is_empty() {
                return Err((place, "is empty, which would let everybody in"));
            }
            // Usually the newline at the end of a file.
            if !token.iter().all(u8::is_ascii_graphic) {
                return Err((
                    place,
                    "has a space, a line end or another character that no token has",
                ));
            }
        }
        Ok(Self(tokens))
    }

    /// Whether `head` carries one of them.
    pub(super) fn are_in(&self, head: &RequestHead<'_>) -> bool {
        sent(head).is_some_and(|sent| self.has(sent))
    }

    /// Compares every token, so that the time reveals neither which one matched nor how much of it.
    fn has(&self, sent: &[u8]) -> bool {
        let mut found = Choice::from(0);
        for token in self.0.iter() {
            found |= sent.ct_eq(token);
        }
        found.into()
    }
}

fn sent<'a>(head: &RequestHead<'a>) -> Option<&'a [u8]> {
    let value = head.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::Tokens;

    #[test]
    fn an_invalid_token_is_refused_with_its_position() {
        for bad in ["", " ", "a b", "secret\n", "\u{0}", "caf\u{e9}"] {
            assert_eq!(Tokens::new([bad]).err().map(|(place, _)| place), Some(1));
            let second = Tokens::new(["good", bad, ""]).err();
            assert_eq!(second.map(|(place, _)| place), Some(2), "{bad:?}");
        }
        assert!(Tokens::new(["a-._~+/=0Z"]).is_ok());
    }

    #[test]
    fn only_whole_tokens_match() {
        let tokens = Tokens::new(["old", "new"]).expect("valid");
        for (sent, expected) in [
            ("old", true),
            ("new", true),
            ("ne", false),
            ("newer", false),
            ("oldnew", false),
            ("", false),
            ("NEW", false),
        ] {
            assert_eq!(tokens.has(sent.as_bytes()), expected, "{sent}");
        }
        assert!(!Tokens::new([""; 0]).expect("none").has(b""));
    }
}
