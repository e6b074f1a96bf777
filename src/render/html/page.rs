//! The document: its frame, the overall status, and the list of dependencies.

use std::{fmt, time::Duration};

use super::{
    dependency::Row,
    text::{Prose, Text, time_of_day, word},
};
use crate::{
    access::Detail,
    render::View,
    report::{Reason, ReportEntry, Rotation, Status},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// One shape for each status, for readers who cannot tell the colors apart.
const ICONS: &str = r#"<svg hidden><symbol viewBox="0 0 16 16" id="i-up"><path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM7 11.6 3.5 8.1l1.4-1.4L7 8.8l4.1-4.1 1.4 1.4z"/></symbol><symbol viewBox="0 0 16 16" id="i-degraded"><path d="M8 .8 0 15.2h16zM7.1 6h1.8v4.6H7.1zm0 5.6h1.8v1.8H7.1z"/></symbol><symbol viewBox="0 0 16 16" id="i-down"><path d="M4.7 0 0 4.7v6.6L4.7 16h6.6l4.7-4.7V4.7L11.3 0zM5.2 3.8 8 6.6l2.8-2.8 1.4 1.4L9.4 8l2.8 2.8-1.4 1.4L8 9.4l-2.8 2.8-1.4-1.4L6.6 8 3.8 5.2z"/></symbol><symbol viewBox="0 0 16 16" id="i-unknown"><path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM3.5 7h2v2h-2zM7 7h2v2H7zm3.5 0h2v2h-2z"/></symbol></svg>"#;

const ALL_REASONS: &str = concat!(
    "https://docs.rs/tower-health/",
    env!("CARGO_PKG_VERSION"),
    "/tower_health/guide/operators/index.html#reasons"
);

/// More names than that are only counted.
const MAX_NAMED: usize = 5;
/// Dependencies that fail so close to each other have a cause in common.
const TOGETHER: Duration = Duration::from_millis(100);

pub(super) fn page(view: &View<'_>) -> String {
    let status = view.status();
    let as_of = match (view.detail(), view.created_at()) {
        (Detail::Full, Some(now)) => format!("As of {}", time_of_day(now)),
        _ => String::new(),
    };
    let details = match view.detail() {
        Detail::Status => "</div></section>".to_owned(),
        Detail::Full => Details(view).to_string(),
    };
    format!(
        r##"<!doctype html>
<html lang="en" data-status="{status}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{word} · {name}</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{tint}'/%3E%3C/svg%3E">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>{STYLE}</style>
</head>
<body>
{ICONS}
<header class="bar"><span class="where" id="where">/{name}</span><span id="live">{as_of}</span><noscript>reloads every 5 s</noscript><button type="button" id="pause" hidden>Pause</button></header>
<p class="lost" id="lost" role="alert" hidden></p>
<main id="main">
<section class="whole" aria-labelledby="whole"><svg class="icon" aria-hidden="true"><use href="#i-{status}"/></svg><div><h1 id="whole">{word}</h1>{details}
</main>
<p class="heard" id="said" role="status"></p>
<script>{SCRIPT}</script>
</body>
</html>
"##,
        word = word(status),
        tint = tint(status),
        name = Text(view.name()),
    )
}

/// The color of the icon in the browser's tab.
const fn tint(status: Status) -> &'static str {
    match status {
        Status::Up => "1a9e56",
        Status::Degraded => "d98a00",
        Status::Unknown => "7b8794",
        Status::Down => "d9342b",
    }
}

/// The part for callers with details.
struct Details<'a, 'view>(&'a View<'view>);

impl fmt::Display for Details<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        let entries = view.entries();
        let (rotation, lifecycle) = match view.rotation() {
            Some(Rotation::Out { reason, message }) => {
                ("Out of rotation.", (*reason, message.as_deref()))
            }
            _ => ("In rotation.", (None, None)),
        };
        // A report that is not about readiness has no reason of its own.
        let (reason, message) = match view.reason() {
            Some(reason) => (Some(reason), view.message()),
            None => lifecycle,
        };
        write!(f, r#"<p id="rotation">{rotation}</p>"#)?;
        if let Some(reason) = reason {
            write!(f, "{}", Why(reason))?;
        }
        if let Some(message) = message {
            write!(
                f,
                r#"<p class="message" id="message">{}</p>"#,
                Text(message)
            )?;
        }
        write!(f, r#"<p id="summary">{}</p>"#, Summary(entries))?;
        if fail_together(entries) {
            f.write_str(
                r#"<p id="together">All dependencies failed within 0.1 s: suspect this host or its network.</p>"#,
            )?;
        }
        f.write_str("</div>")?;
        if !view.info().is_empty() {
            f.write_str(r#"<dl class="info">"#)?;
            for (name, value) in view.info() {
                let (name, value) = (Text(name), Text(value));
                write!(f, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
            }
            f.write_str("</dl>")?;
        }
        f.write_str("</section>")?;
        if !entries.is_empty() {
            f.write_str(
                r#"
<div class="heads" aria-hidden="true"><span>State</span><span>Dependency</span><span>Last 32 runs</span><span>Connections</span></div>
<ul class="rows">"#,
            )?;
            for (number, entry) in (0..).zip(entries) {
                let now = view.created_at();
                write!(f, "\n{}", Row { number, entry, now })?;
            }
            f.write_str("\n</ul>")?;
        }
        Guide(reason, entries).fmt(f)
    }
}

/// A reason, its meaning and the operator's action.
pub(super) struct Why(pub(super) Reason);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (meaning, action) = (Prose(self.0.meaning()), Prose(self.0.action()));
        write!(
            f,
            r#"<p class="why"><code>{}</code><b>{meaning}</b> <span>{action}</span></p>"#,
            self.0
        )
    }
}

/// The reasons on the page, those of past runs included, and a link to all others.
struct Guide<'a>(Option<Reason>, &'a [ReportEntry]);

impl Guide<'_> {
    fn mentions(&self, reason: Reason) -> bool {
        self.0 == Some(reason)
            || self.1.iter().any(|entry| {
                let past = entry.history().iter().map(|run| run.reason);
                entry.reason == Some(reason) || past.flatten().any(|past| past == reason)
            })
    }
}

impl fmt::Display for Guide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons = Reason::ALL
            .iter()
            .filter(|reason| self.mentions(**reason))
            .peekable();
        f.write_str("\n<footer>")?;
        if reasons.peek().is_some() {
            f.write_str(
                r#"<details id="guide"><summary id="guide-title">What these reasons mean and what to do</summary><dl class="guide">"#,
            )?;
            for reason in reasons {
                let (meaning, action) = (Prose(reason.meaning()), Prose(reason.action()));
                write!(
                    f,
                    "<div><dt><code>{reason}</code></dt><dd><b>{meaning}</b> <span>{action}</span></dd></div>"
                )?;
            }
            f.write_str("</dl></details>")?;
        }
        write!(
            f,
            r#"<a id="reasons" href="{ALL_REASONS}" rel="noreferrer">All reasons</a></footer>"#
        )
    }
}

/// One sentence: what is not up, by name, with links to the rows.
struct Summary<'a>(&'a [ReportEntry]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = (0..).zip(self.0).filter(|(_, entry)| !entry.is_excluded());
        let count = counted.clone().count();
        let others: Vec<(usize, &ReportEntry)> = counted
            .filter(|(_, entry)| entry.status != Status::Up)
            .collect();
        match (count, others.len()) {
            (0, _) => return f.write_str("Nothing is checked."),
            (1, 0) => return f.write_str("The one dependency is up."),
            (2, 0) => return f.write_str("Both dependencies are up."),
            (_, 0) => return write!(f, "All {count} dependencies are up."),
            _ => {}
        }
        for (place, (number, entry)) in (0..).zip(others.iter().take(MAX_NAMED)) {
            let separator = if place == 0 { "" } else { ", " };
            let optional = if entry.required { "" } else { " (optional)" };
            write!(
                f,
                r##"{separator}<a id="s{number}" href="#d{number}">{}</a>{optional} is {}"##,
                Text(&entry.name),
                entry.status
            )?;
        }
        if others.len() > MAX_NAMED {
            write!(f, " and {} more", others.len() - MAX_NAMED)?;
        }
        write!(f, "; {} of {count} up.", count - others.len())
    }
}

/// Whether several dependencies, and all that are checked, began to fail at the same time.
fn fail_together(entries: &[ReportEntry]) -> bool {
    let counted: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.is_excluded())
        .collect();
    let failing = counted
        .iter()
        .filter(|entry| entry.status == Status::Down)
        .filter_map(|entry| entry.failing_for);
    let (Some(first), Some(last)) = (failing.clone().max(), failing.clone().min()) else {
        return false;
    };
    counted.len() > 1 && failing.count() == counted.len() && first - last <= TOGETHER
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Summary, fail_together};
    use crate::{
        render::view::sample::entry,
        report::{ReportEntry, Status},
    };

    fn down(name: &str, failing_for_ms: u64) -> ReportEntry {
        ReportEntry {
            failing_for: Some(Duration::from_millis(failing_for_ms)),
            ..entry(name, Status::Down)
        }
    }

    #[test]
    fn a_common_cause_is_suspected_if_all_fail_at_once() {
        let up = || entry("up", Status::Up);
        let table = [
            (vec![], false),
            (vec![down("a", 500)], false),
            (vec![down("a", 500), down("b", 400)], true),
            (vec![down("a", 500), down("b", 399)], false),
            (vec![down("a", 500), down("b", 480), down("c", 400)], true),
            (vec![down("a", 500), down("b", 500), up()], false),
            (vec![down("a", 500), entry("b", Status::Down)], false),
        ];
        for (entries, expected) in table {
            assert_eq!(fail_together(&entries), expected, "{entries:?}");
        }
    }

    #[test]
    fn the_summary_names_five_and_counts_the_rest() {
        let entries: Vec<_> = (0..7)
            .map(|number| down(&format!("n{number}"), 0))
            .collect();
        let text = Summary(&entries).to_string();
        assert!(
            text.contains(">n4</a> is down and 2 more; 0 of 7 up."),
            "{text}"
        );
        let three = [(); 3].map(|()| entry("x", Status::Up));
        assert_eq!(Summary(&three).to_string(), "All 3 dependencies are up.");
    }
}
