//! The status page, which an operator opens during an incident.
//!
//! 1. It is one document. Style, script and icon are part of it, and [`CONTENT_SECURITY_POLICY`] allows the
//!    browser to load nothing from other addresses.
//! 2. Only the server renders it. Without scripts it reloads every 5 s. With scripts it fetches its own address
//!    as HTML every 2 s and replaces `<main>`. Focus, scroll position and open `<details>` stay. While it
//!    is hidden or paused, it fetches nothing.
//! 3. [`text::escape`] escapes all text of the app. The script writes text nodes and adopts parsed nodes.
//! 4. Without details it shows the overall status only.
//! 5. With ten dependencies and their longest texts it is under 40 KB, for slow connections.

// Each file imports only from those above it.
mod text;

mod chart;

mod dependency;

mod page;

use bytes::Bytes;

use super::view::View;

/// The header of every response with the page. A test computes the hashes of `page.css` and `page.js`.
pub(in crate::render) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-qy+xrqHv0bW77ihESLY5RO0Lx78uCyBk0HvuhxSqe90='; \
    script-src 'sha256-cRusW+8cIMZKgmxwlesAzPVqdebJ4bVEA2RvqYjGcs8='; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(in crate::render) fn html(view: &View<'_>) -> Bytes {
    page::page(view).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};

    use super::{CONTENT_SECURITY_POLICY, html};
    use crate::{
        render::view::{RequestContext, sample},
        report::{CheckRun, History, Observations, PoolStats, Reason, Report, ReportEntry, Status},
    };

    #[test]
    fn the_policy_has_the_hashes_of_style_and_script() {
        for (directive, text) in [
            ("style-src", include_str!("page.css")),
            ("script-src", include_str!("page.js")),
        ] {
            let hash = BASE64_STANDARD.encode(Sha256::digest(text));
            let expected = format!("{directive} 'sha256-{hash}';");
            assert!(CONTENT_SECURITY_POLICY.contains(&expected), "{expected}");
        }
    }

    #[test]
    fn ten_dependencies_at_their_longest_are_under_40_kilobytes() {
        let mut history = History::default();
        for (ms, reason) in (100..132).zip(Reason::ALL[..8].iter().cycle()) {
            let status = [Status::Up, Status::Degraded, Status::Down][ms as usize % 3];
            history = history.with(CheckRun::new(status, Some(*reason), ms));
        }
        let entries = (0..10).map(|number| ReportEntry {
            kind: Some("postgres".into()),
            target: Some("postgres-primary.production.svc.cluster.local:5432".into()),
            reason: Some(Reason::Exhausted),
            message: Some("no connection within 500 ms; the server answers on its own".into()),
            consecutive_failures: 4_000,
            status_for: Some(Duration::from_secs(100_000)),
            last_up: Some(Duration::from_secs(100_000)),
            failing_for: Some(Duration::from_secs(100_000)),
            timeout: Some(Duration::from_millis(800)),
            interval: Some(Duration::from_millis(900)),
            age: Some(Duration::from_secs(100)),
            history: history.clone(),
            observations: Observations {
                pool: Some(PoolStats::new(100, 100, 0)),
                values: vec![("replication_lag_ms".into(), 1_234_567_u64.into())],
            },
            ..sample::entry(&format!("dependency-{number}"), Status::Down)
        });
        let report = Report::new(entries.collect(), [].into());
        let page = html(&sample::full(&report));
        assert!(page.len() < 40 * 1024, "{}", page.len());
    }

    fn page_of(report: &Report) -> String {
        String::from_utf8(html(&sample::full(report)).into()).expect("text")
    }

    #[test]
    fn an_outage_shows_when_it_was_up_last() {
        let down = || sample::entry("database", Status::Down);
        let known = ReportEntry {
            last_up: Some(Duration::from_secs(48)),
            ..down()
        };
        let page = page_of(&Report::new(vec![known], [].into()));
        assert!(page.contains("up until 03:36:00 UTC"), "{page}");
        let never = ReportEntry {
            never_up: true,
            ..down()
        };
        let page = page_of(&Report::new(vec![never], [].into()));
        assert!(page.contains("never up since start"), "{page}");
        for status in [Status::Up, Status::Degraded, Status::Unknown] {
            let page = page_of(&Report::new(vec![sample::entry("x", status)], [].into()));
            assert!(
                !page.contains(">up until") && !page.contains("never up"),
                "{status}"
            );
        }
    }

    #[test]
    fn only_reasons_on_the_page_are_explained() {
        let up = ReportEntry {
            history: History::default().with(CheckRun::new(Status::Down, Some(Reason::Dns), 1)),
            ..sample::entry("database", Status::Up)
        };
        let report = Report::new(vec![up], [].into());
        let starting = Report::new(Vec::new(), [].into());
        let starting = starting.with_lifecycle(Status::Unknown, Reason::Starting, None);
        let view = sample::full(&report).with_request(RequestContext {
            readiness: Some(&starting),
            ..RequestContext::default()
        });
        let page = String::from_utf8(html(&view).into()).expect("text");
        for &reason in Reason::ALL {
            let expected = [Reason::Dns, Reason::Starting].contains(&reason);
            let found = page.contains(&format!("<dt><code>{reason}</code>"));
            assert_eq!(found, expected, "{reason}");
        }
        assert!(page.contains(">Out of rotation.</p>"), "{page}");
        let without = page_of(&Report::new(Vec::new(), [].into()));
        assert!(!without.contains("<details") && without.contains(">In rotation.</p>"));
    }
}
