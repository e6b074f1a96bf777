//! The page: what an engineer on call opens at night.
//!
//! 1. One document. Style, script and icon stand in it, and nothing is loaded from elsewhere;
//!    [`CONTENT_SECURITY_POLICY`] holds the browser to that.
//! 2. Complete as it is delivered: without scripts it reloads itself every 5 s. With scripts it
//!    asks the same address for [`data`] every 2 s and patches what changed; hidden, it asks nothing.
//! 3. What it draws is drawn twice, here and in `page.js`. A test in a browser compares the two.
//! 4. Every text of the app's goes through [`escape::Text`]; the script writes text nodes only.
//! 5. Without details it is the status in one word.
//!
//! 6. Under 40 KB with ten dependencies at their wordiest: it may have to come over a bad line.
//!
//! The trap: the script finds its data by `accept` at the page's own address. Behind a proxy that
//! drops that header it gets what the layer gives by default: of native JSON it shows all but
//! the past, of anything else it says that the connection is lost.

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
    style-src 'sha256-cut0tmcrvw3flK2udKsHz6DeEfuJrFCOLVUjCROwZGI='; \
    script-src 'sha256-8N1RoYdNHhKD1fwiO408NSTkJCA5r01zLtqOtuJwGq4='; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(in crate::render) fn html(view: &View<'_>) -> Bytes {
    document::document(view).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};

    use super::{CONTENT_SECURITY_POLICY, html};
    use crate::{
        render::sample,
        report::{History, Observations, PoolStats, Reason, Report, ReportEntry, Status},
    };

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

    /// Ten of them, all down after a long and varied past.
    #[test]
    fn ten_dependencies_at_their_wordiest_stay_under_40_kilobytes() {
        let mut history = History::default();
        for ms in 100..100 + 32 {
            let status = [Status::Up, Status::Degraded, Status::Down][ms as usize % 3];
            history = history.then(status, Duration::from_millis(ms));
        }
        let entries = (0..10).map(|number| ReportEntry {
            kind: Some("postgres".into()),
            reason: Some(Reason::Saturated),
            message: Some("no connection within 500 ms; the server answers on its own".into()),
            consecutive_failures: 4_000,
            status_for: Some(Duration::from_secs(100_000)),
            age: Some(Duration::from_secs(100)),
            history: history.clone(),
            observations: Observations {
                pool: Some(PoolStats::new(100, 100, 0)),
                values: vec![("replication_lag_ms".into(), 1_234_567_u64.into())],
            },
            ..sample::entry(&format!("dependency-{number}"), Status::Down)
        });
        let report = Report::of(entries.collect(), [].into());
        let page = html(&sample::full(&report));
        assert!(page.len() < 40 * 1024, "{}", page.len());
    }
}
