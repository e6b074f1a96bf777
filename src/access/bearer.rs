use std::sync::Arc;

use http::{HeaderMap, header};
use subtle::{Choice, ConstantTimeEq};

/// Tokens, each of which grants access. Never printed.
#[derive(Clone)]
pub(super) struct Tokens(Arc<[String]>);

impl Tokens {
    /// # Errors
    ///
    /// The position of the first invalid token, counted from 1, and why it is invalid.
    pub(super) fn new<T: Into<String>>(
        tokens: impl IntoIterator<Item = T>,
    ) -> Result<Self, (usize, &'static str)> {
        let tokens: Arc<[String]> = tokens.into_iter().map(Into::into).collect();
        for (position, token) in (1..).zip(tokens.iter()) {
            if token.is_empty() {
                return Err((position, "is empty"));
            }
            // Usually the newline at the end of a file.
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err((position, "contains a character that is not visible ASCII"));
            }
        }
        Ok(Self(tokens))
    }

    /// Returns whether `headers` contain one of the tokens.
    pub(super) fn are_in(&self, headers: &HeaderMap) -> bool {
        sent_token(headers).is_some_and(|sent| self.contains(sent))
    }

    /// Compares every token, so that the time reveals neither which one matched nor how much of it.
    fn contains(&self, sent: &[u8]) -> bool {
        let mut found = Choice::from(0);
        for token in self.0.iter() {
            found |= sent.ct_eq(token.as_bytes());
        }
        found.into()
    }
}

fn sent_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::Tokens;

    #[test]
    fn an_invalid_token_is_rejected_with_its_position() {
        for bad in ["", " ", "a b", "secret\n", "\u{0}", "caf\u{e9}"] {
            assert_eq!(
                Tokens::new([bad]).err().map(|(position, _)| position),
                Some(1)
            );
            let second = Tokens::new(["good", bad, ""]).err();
            assert_eq!(second.map(|(position, _)| position), Some(2), "{bad:?}");
        }
        assert!(Tokens::new(["a-._~+/=0Z"]).is_ok());
    }

    #[test]
    fn only_complete_tokens_match() {
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
            assert_eq!(tokens.contains(sent.as_bytes()), expected, "{sent}");
        }
        assert!(!Tokens::new([""; 0]).expect("none").contains(b""));
    }
}
