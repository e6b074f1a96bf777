use std::fmt;

use super::{
    escape::{Prose, Text},
    row::Row,
    summary::Summary,
    words::{time_of_day, word},
};
use crate::{
    access::Detail,
    render::View,
    report::{Reason, Status},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// One shape for each status: a colour alone says nothing to one reader in twelve.
const ICONS: &str = r#"<svg hidden><symbol viewBox="0 0 16 16" id="i-up"><path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM7 11.6 3.5 8.1l1.4-1.4L7 8.8l4.1-4.1 1.4 1.4z"/></symbol><symbol viewBox="0 0 16 16" id="i-degraded"><path d="M8 .8 0 15.2h16zM7.1 6h1.8v4.6H7.1zm0 5.6h1.8v1.8H7.1z"/></symbol><symbol viewBox="0 0 16 16" id="i-down"><path d="M4.7 0 0 4.7v6.6L4.7 16h6.6l4.7-4.7V4.7L11.3 0zM5.2 3.8 8 6.6l2.8-2.8 1.4 1.4L9.4 8l2.8 2.8-1.4 1.4L8 9.4l-2.8 2.8-1.4-1.4L6.6 8 3.8 5.2z"/></symbol><symbol viewBox="0 0 16 16" id="i-unknown"><path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM3.5 7h2v2h-2zM7 7h2v2H7zm3.5 0h2v2h-2z"/></symbol></svg>"#;

/// The whole document.
pub(super) fn document(view: &View<'_>) -> String {
    let status = view.status();
    let as_of = match (view.detail(), view.created_at()) {
        (Detail::Full, Some(now)) => format!("As of {}", time_of_day(now)),
        _ => String::new(),
    };
    let mut page = format!(
        r#"<!doctype html>
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
<section class="whole" aria-labelledby="whole"><svg class="icon" aria-hidden="true"><use href="{hash}i-{status}"/></svg><div><h1 id="whole">{word}</h1>"#,
        word = word(status),
        tint = tint(status),
        name = Text(view.name()),
        hash = '#',
    );
    match view.detail() {
        Detail::Status => page.push_str("</div></section>"),
        Detail::Full => page.push_str(&Details(view).to_string()),
    }
    page.push_str(&format!(
        r#"
</main>
<p class="heard" id="said" role="status"></p>
<script>{SCRIPT}</script>
</body>
</html>
"#
    ));
    page
}

/// In the browser's tab, in both themes.
const fn tint(status: Status) -> &'static str {
    match status {
        Status::Up => "1a9e56",
        Status::Degraded => "d98a00",
        Status::Unknown => "7b8794",
        Status::Down => "d9342b",
    }
}

/// What only those allowed details get.
struct Details<'a, 'view>(&'a View<'view>);

impl fmt::Display for Details<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        write!(
            f,
            r#"{}<p class="message" id="message"{}>{}</p><p id="summary">{}</p></div>"#,
            Why(view.reason()),
            if view.message().is_none() {
                " hidden"
            } else {
                ""
            },
            Text(view.message().unwrap_or_default()),
            Summary(view.entries())
        )?;
        f.write_str(r#"<dl class="info">"#)?;
        for (name, value) in view.info() {
            write!(
                f,
                "<div><dt>{}</dt><dd>{}</dd></div>",
                Text(name),
                Text(value)
            )?;
        }
        f.write_str(
            r#"</dl></section>
<div class="heads" aria-hidden="true"><span>State</span><span>Dependency</span><span>Last 32 runs</span><span>Connections</span></div>
<ul class="rows" id="rows">"#,
        )?;
        for (number, entry) in (0..).zip(view.entries()) {
            let now = view.created_at();
            write!(f, "\n{}", Row { number, entry, now })?;
        }
        f.write_str("\n</ul>\n<details><summary>What the reasons mean and what to do</summary>\n<dl class=\"guide\" id=\"guide\">\n")?;
        for &reason in Reason::ALL {
            writeln!(
                f,
                "<div><dt><code>{reason}</code></dt><dd><b>{}</b> <span>{}</span></dd></div>",
                Prose(reason.meaning()),
                Prose(reason.action())
            )?;
        }
        f.write_str("</dl>\n</details>")
    }
}

/// A reason, what it means and what to do.
pub(super) struct Why(pub(super) Option<Reason>);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str(r#"<p class="why" hidden><code></code><b></b> <span></span></p>"#),
            Some(reason) => write!(
                f,
                r#"<p class="why"><code>{reason}</code><b>{}</b> <span>{}</span></p>"#,
                Prose(reason.meaning()),
                Prose(reason.action())
            ),
        }
    }
}
