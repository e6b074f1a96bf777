//! The row of one dependency.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{
    chart::{Chart, PastRuns, caption},
    page::Why,
    text::{Text, moment, setting, span, word},
};
use crate::report::{ObservedValue, PoolStats, ReportEntry};

/// A younger result is current, and its age not worth a word.
const OLD: Duration = Duration::from_secs(10);

pub(super) struct Row<'a> {
    pub(super) number: usize,
    pub(super) entry: &'a ReportEntry,
    pub(super) now: Option<SystemTime>,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, entry, now } = *self;
        let status = entry.status;
        write!(
            f,
            r##"<li class="row" id="d{number}" tabindex="-1" data-status="{status}" data-name="{name}"><div class="state"><p class="word"><svg class="icon" aria-hidden="true"><use href="#i-{status}"/></svg><span>{word}</span></p>"##,
            name = Text(&entry.name),
            word = word(status)
        )?;
        let since = entry.status_for.zip(now);
        let since = since.map(|(ago, now)| format!("since {}", moment(ago, now)));
        let span = entry.status_for.map(|ago| format!("for {}", span(ago)));
        write!(
            f,
            r#"{}{}{}</div><div class="what"><div class="name"><h2>{}</h2><span class="small kind">{}</span></div>"#,
            Paragraph("small span", span),
            Paragraph("small since", since),
            Paragraph("small until", until(entry, now)),
            Text(&entry.name),
            Text(&kind(entry)),
        )?;
        if let Some(reason) = entry.reason {
            write!(f, "{}", Why(reason))?;
        }
        write!(
            f,
            "{}{}{}</div>",
            Paragraph("message", entry.message.as_deref().map(str::to_owned)),
            Paragraph("extra", joined(extra(entry))),
            Paragraph("small place", joined(settings(entry))),
        )?;
        let runs = entry.history();
        f.write_str(r#"<div class="runs">"#)?;
        if !runs.is_empty() {
            write!(
                f,
                "{}{}",
                Chart(runs),
                Paragraph("small", Some(caption(runs)))
            )?;
            write!(
                f,
                r#"<details class="small"><summary>Past runs</summary>{}</details>"#,
                PastRuns(runs)
            )?;
        }
        f.write_str("</div>")?;
        if let Some(pool) = entry.pool() {
            write!(f, "{}", Pool(pool))?;
        }
        f.write_str("</li>")
    }
}

struct Paragraph(&'static str, Option<String>);

impl fmt::Display for Paragraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1 {
            Some(text) => write!(f, r#"<p class="{}">{}</p>"#, self.0, Text(text)),
            None => Ok(()),
        }
    }
}

fn joined(parts: Vec<String>) -> Option<String> {
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// When it was up or degraded last, of what is not.
fn until(entry: &ReportEntry, now: Option<SystemTime>) -> Option<String> {
    if entry.status.is_serving() {
        return None;
    }
    if entry.never_up {
        return Some("never up since start".to_owned());
    }
    let (ago, now) = entry.last_up.zip(now)?;
    Some(format!("up until {}", moment(ago, now)))
}

fn kind(entry: &ReportEntry) -> String {
    let need = if entry.required {
        "required"
    } else {
        "optional"
    };
    let excluded = if entry.is_excluded() {
        " · excluded"
    } else {
        ""
    };
    match &entry.kind {
        Some(kind) => format!("{kind} · {need}{excluded}"),
        None => format!("{need}{excluded}"),
    }
}

/// What the last runs say beside status and reason.
fn extra(entry: &ReportEntry) -> Vec<String> {
    let mut parts = Vec::new();
    match entry.consecutive_failures {
        0 => {}
        1 => parts.push("1 failed run".to_owned()),
        failures => parts.push(format!("{failures} failed runs in a row")),
    }
    if let Some(pending) = entry.pending_for {
        parts.push(format!("a run is pending for {}", span(pending)));
    }
    if let Some(age) = entry.age.filter(|age| *age >= OLD) {
        parts.push(format!("checked {} ago", span(age)));
    }
    for (name, value) in entry.observations() {
        let value = match value {
            ObservedValue::Bool(yes) => yes.to_string(),
            ObservedValue::Integer(number) => number.to_string(),
            ObservedValue::Float(number) => number.to_string(),
            ObservedValue::Text(text) => text.to_string(),
        };
        parts.push(format!("{name} {value}"));
    }
    parts
}

/// What is checked, and how.
fn settings(entry: &ReportEntry) -> Vec<String> {
    let target = entry.target.as_deref().map(str::to_owned);
    let timeout = entry
        .timeout
        .map(|time| format!("timeout {}", setting(time)));
    let interval = entry.interval;
    let interval = interval.map(|time| format!("checked at most every {}", setting(time)));
    [target, timeout, interval].into_iter().flatten().collect()
}

struct Pool(PoolStats);

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PoolStats {
            max, idle, in_use, ..
        } = self.0;
        let percent = |count: u32| (u64::from(count) * 100 / u64::from(max.max(1))).min(100);
        let (used, unused) = (percent(in_use), percent(idle));
        write!(
            f,
            r#"<div class="pool"><svg class="gauge" aria-hidden="true"><rect class="used" width="{used}%" height="8"/><rect class="idle" x="{used}%" width="{unused}%" height="8"/></svg><p class="small"><span class="heard">Pool: </span><span>{in_use} in use · {idle} idle · max {max}</span></p></div>"#
        )
    }
}
