//! The page: what an engineer on call opens at night.
//!
//! 1. One document. Style, script and icon stand in it, and nothing is loaded from elsewhere;
//!    [`CONTENT_SECURITY_POLICY`] holds the browser to that.
//! 2. Complete as it is delivered: without scripts it reloads itself every 5 s. With scripts it
//!    asks the same address for the native JSON every 2 s and patches what changed.
//! 3. What it draws is drawn twice, here and in `page.js`. The browser test compares the two.
//! 4. Every text of the app's goes through [`escape::Text`]; the script writes text nodes only.
//! 5. Without details it is the status in one word.
//!
//! The trap: the script finds the JSON by `Accept: application/json` at the page's own address.
//! A proxy in front that drops `accept` gets it the page instead, and it says that the connection is lost.

mod chart;
mod data;
mod document;
mod escape;
mod row;
mod summary;
mod words;

use bytes::Bytes;

use super::View;

pub(in crate::render) use data::page_data;

/// The header that belongs to every answer with the page.
///
/// The hashes are those of `page.css` and `page.js`, byte for byte; a test computes them anew.
pub(in crate::render) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-sICf1UFJ1FnURwUG6s0naAPm8sSmmxv9J/GIVL08II4='; \
    script-src 'sha256-EM7/DR+CFAgLX/3JILjJsB+s/J8Ex9ppYsLomQJiF7U='; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(in crate::render) fn html(view: &View<'_>) -> Bytes {
    document::document(view).into()
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};

    use super::CONTENT_SECURITY_POLICY;

    #[test]
    fn the_policy_names_the_style_and_the_script_as_they_are() {
        for (directive, text) in [
            ("style-src", include_str!("page.css")),
            ("script-src", include_str!("page.js")),
        ] {
            let hash = BASE64_STANDARD.encode(Sha256::digest(text));
            let expected = format!("{directive} 'sha256-{hash}';");
            assert!(CONTENT_SECURITY_POLICY.contains(&expected), "{expected}");
        }
    }
}
