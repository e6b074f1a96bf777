//! The document: its frame, the overall status, and the list of dependencies.

use std::time::Duration;

use super::{
    dependency::row,
    text::{escape, meaning_and_action, reason_note, time_of_day, title},
};
use crate::{
    render::view::View,
    report::{Reason, ReportEntry, Status},
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

/// The summary names at most this many dependencies and counts the others.
const MAX_NAMED: usize = 5;
/// Dependencies that begin to fail within this time have a cause in common.
const TOGETHER: Duration = Duration::from_millis(100);

pub(super) fn page(view: &View<'_>) -> String {
    let status = view.status();
    let as_of = view.created_at();
    let as_of = as_of.map(|now| format!("As of {}", time_of_day(now)));
    let details = match view.report() {
        None => "</div></section>".to_owned(),
        Some(_) => details(view),
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
<title>{title} · {name}</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{tint}'/%3E%3C/svg%3E">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>{STYLE}</style>
</head>
<body>
{ICONS}
<header class="bar"><span class="where" id="where">/{name}</span><span id="live">{as_of}</span><noscript>reloads every 5 s</noscript><button type="button" id="pause" hidden>Pause</button></header>
<p class="lost" id="lost" role="alert" hidden></p>
<main id="main">
<section class="overall" aria-labelledby="overall"><svg class="icon" aria-hidden="true"><use href="#i-{status}"/></svg><div><h1 id="overall">{title}</h1>{details}
</main>
<p class="visually-hidden" id="announcement" role="status"></p>
<script>{SCRIPT}</script>
</body>
</html>
"##,
        title = title(status),
        tint = tint(status),
        as_of = as_of.unwrap_or_default(),
        name = escape(view.name()),
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

/// Returns the part for callers with details.
fn details(view: &View<'_>) -> String {
    let entries = view.entries();
    let not_ready = view
        .readiness()
        .filter(|report| !report.status.is_serving());
    let rotation = if not_ready.is_some() { "Out of" } else { "In" };
    // A report without a reason of the app itself shows the reason of readiness.
    let (reason, message) = match (view.reason(), not_ready) {
        (None, Some(report)) => (report.reason, report.message.as_deref()),
        (reason, _) => (reason, view.message()),
    };
    let why = reason.map(reason_note).unwrap_or_default();
    let message = message.map(|message| {
        let message = escape(message);
        format!(r#"<p class="message" id="message">{message}</p>"#)
    });
    let together = match fail_together(entries) {
        true => {
            r#"<p id="together">All dependencies failed within 0.1 s: suspect this host or its network.</p>"#
        }
        false => "",
    };
    let info = view.info().iter().map(|(name, value)| {
        let (name, value) = (escape(name), escape(value));
        format!("<div><dt>{name}</dt><dd>{value}</dd></div>")
    });
    let info = match info.collect::<String>() {
        fields if fields.is_empty() => fields,
        fields => format!(r#"<dl class="info">{fields}</dl>"#),
    };
    let rows = entries.iter().enumerate();
    let rows = rows.map(|(number, entry)| row(number, entry, view.created_at()) + "\n");
    let list = match rows.collect::<String>() {
        rows if rows.is_empty() => rows,
        rows => format!(
            r#"
<div class="heads" aria-hidden="true"><span>State</span><span>Dependency</span><span>Last 32 runs</span><span>Connections</span></div>
<ul class="rows">
{rows}</ul>"#
        ),
    };
    format!(
        r#"<p id="rotation">{rotation} rotation.</p>{why}{}<p id="summary">{}</p>{together}</div>{info}</section>{list}{}"#,
        message.unwrap_or_default(),
        summary(entries),
        footer(reason, entries)
    )
}

/// Explains the reasons on the page, those of past runs included, and links to all others.
fn footer(reason: Option<Reason>, entries: &[ReportEntry]) -> String {
    let past = entries.iter().flat_map(ReportEntry::history);
    let shown: Vec<_> = reason
        .into_iter()
        .chain(entries.iter().filter_map(|entry| entry.reason))
        .chain(past.filter_map(|run| run.reason))
        .collect();
    let explained = Reason::ALL.iter().filter(|reason| shown.contains(reason));
    let explained = explained.map(|reason| {
        let text = meaning_and_action(*reason);
        format!("<div><dt><code>{reason}</code></dt><dd>{text}</dd></div>")
    });
    let guide = match shown.is_empty() {
        true => String::new(),
        false => format!(
            r#"<details id="guide"><summary id="guide-title">What these reasons mean and what to do</summary><dl class="guide">{}</dl></details>"#,
            explained.collect::<String>()
        ),
    };
    format!(
        r#"
<footer>{guide}<a id="reasons" href="{ALL_REASONS}" rel="noreferrer">All reasons</a></footer>"#
    )
}

/// Returns one sentence: what is not up, by name, with links to the rows.
fn summary(entries: &[ReportEntry]) -> String {
    let checked = entries.iter().enumerate();
    let checked: Vec<_> = checked.filter(|(_, entry)| !entry.is_excluded()).collect();
    let count = checked.len();
    let not_up = checked
        .iter()
        .filter(|(_, entry)| entry.status != Status::Up);
    let not_up: Vec<_> = not_up
        .map(|(number, entry)| {
            let optional = if entry.required { "" } else { " (optional)" };
            let (name, status) = (escape(&entry.name), entry.status);
            format!(r##"<a id="s{number}" href="#d{number}">{name}</a>{optional} is {status}"##)
        })
        .collect();
    match (count, not_up.len()) {
        (0, _) => "Nothing is checked.".to_owned(),
        (1, 0) => "The one dependency is up.".to_owned(),
        (2, 0) => "Both dependencies are up.".to_owned(),
        (_, 0) => format!("All {count} dependencies are up."),
        (_, others) => {
            let more = match others.saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let named = not_up[..others.min(MAX_NAMED)].join(", ");
            format!("{named}{more}; {} of {count} up.", count - others)
        }
    }
}

/// Returns whether two or more dependencies, and all that are checked, began to fail together.
fn fail_together(entries: &[ReportEntry]) -> bool {
    let checked = entries.iter().filter(|entry| !entry.is_excluded());
    let failing_for: Option<Vec<_>> = checked
        .map(|entry| entry.failing_for.filter(|_| entry.status == Status::Down))
        .collect();
    let failing_for = failing_for.unwrap_or_default();
    match (failing_for.iter().max(), failing_for.iter().min()) {
        (Some(first), Some(last)) => failing_for.len() > 1 && *first - *last <= TOGETHER,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{fail_together, summary};
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
        let text = summary(&entries);
        assert!(
            text.contains(">n4</a> is down and 2 more; 0 of 7 up."),
            "{text}"
        );
        let three = [(); 3].map(|()| entry("x", Status::Up));
        assert_eq!(summary(&three), "All 3 dependencies are up.");
    }
}
