//! One dependency.

use std::{fmt, time::SystemTime};

use super::{
    chart::{Chart, caption},
    document::Why,
    escape::Text,
    words::{moment, span, word},
};
use crate::report::{ObservedValue, PoolStats, ReportEntry};

/// In seconds. A verdict younger than that is now.
const WORTH_A_WORD: u64 = 10;

/// A dependency's row.
///
/// All its parts are always there, the empty ones hidden, so that the script has them to fill.
pub(super) struct Row<'a> {
    pub(super) number: usize,
    pub(super) entry: &'a ReportEntry,
    pub(super) now: Option<SystemTime>,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry;
        write!(
            f,
            r#"<li class="row" id="d{}" tabindex="-1" data-status="{}" data-name="{}">"#,
            self.number,
            entry.status,
            Text(&entry.name),
        )?;
        write!(
            f,
            r##"<div class="state"><p class="word"><svg class="icon" aria-hidden="true"><use href="#i-{}"/></svg><span>{}</span></p>"##,
            entry.status,
            word(entry.status)
        )?;
        let span = entry.status_for.map(|ago| format!("for {}", span(ago)));
        let since = entry.status_for.zip(self.now);
        let since = since.map(|(ago, now)| format!("since {}", moment(ago, now)));
        write!(
            f,
            r#"{}{}</div><div class="what"><div class="name"><h2>{}</h2><span class="small kind">{}</span></div>{}"#,
            Paragraph("small span", span.as_deref()),
            Paragraph("small since", since.as_deref()),
            Text(&entry.name),
            Text(&kind(entry)),
            Why(entry.reason)
        )?;
        let extra = extra(entry);
        write!(
            f,
            r#"{}{}</div><div class="runs">{}<p class="small">{}</p></div>{}</li>"#,
            Paragraph("message", entry.message.as_deref()),
            Paragraph("extra", Some(&*extra).filter(|extra| !extra.is_empty())),
            Chart(entry.history()),
            caption(entry.history()),
            Pool(entry.pool())
        )
    }
}

struct Paragraph<'a>(&'static str, Option<&'a str>);

impl fmt::Display for Paragraph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(text) => write!(f, r#"<p class="{}">{}</p>"#, self.0, Text(text)),
            None => write!(f, r#"<p class="{}" hidden></p>"#, self.0),
        }
    }
}

fn kind(entry: &ReportEntry) -> String {
    let need = if entry.required {
        "required"
    } else {
        "optional"
    };
    let left_out = if entry.is_excluded() {
        " · left out"
    } else {
        ""
    };
    match &entry.kind {
        Some(kind) => format!("{kind} · {need}{left_out}"),
        None => format!("{need}{left_out}"),
    }
}

/// Whatever else is worth a word.
fn extra(entry: &ReportEntry) -> String {
    let mut parts = Vec::new();
    match entry.consecutive_failures {
        0 => {}
        1 => parts.push("1 failed run".to_owned()),
        failures => parts.push(format!("{failures} failed runs in a row")),
    }
    if let Some(pending) = entry.pending_for {
        parts.push(format!("a run is under way for {}", span(pending)));
    }
    if let Some(age) = entry.age.filter(|age| age.as_secs() >= WORTH_A_WORD) {
        parts.push(format!("checked {} ago", span(age)));
    }
    for (name, value) in entry.observations() {
        parts.push(format!("{name} {}", shown(value)));
    }
    parts.join(" · ")
}

/// A value as the script would write it.
fn shown(value: &ObservedValue) -> String {
    match value {
        ObservedValue::Bool(yes) => yes.to_string(),
        ObservedValue::Integer(number) => number.to_string(),
        // JSON has no word for the others.
        ObservedValue::Float(number) if !number.is_finite() => "null".to_owned(),
        ObservedValue::Float(number) => number.to_string(),
        ObservedValue::Text(text) => text.to_string(),
    }
}

struct Pool(Option<PoolStats>);

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = self.0.unwrap_or_default();
        let (used, idle) = (share(pool.in_use, pool), share(pool.idle, pool));
        let hidden = if self.0.is_none() { " hidden" } else { "" };
        write!(
            f,
            r#"<div class="pool"{hidden}><svg class="gauge" aria-hidden="true"><rect class="used" width="{used}%" height="8"/><rect class="idle" x="{used}%" width="{idle}%" height="8"/></svg><p class="small"><span class="heard">Pool: </span><span>{} in use · {} idle · max {}</span></p></div>"#,
            pool.in_use, pool.idle, pool.max
        )
    }
}

/// `count` in percent of the pool.
fn share(count: u32, pool: PoolStats) -> u64 {
    (u64::from(count) * 100 / u64::from(pool.max.max(1))).min(100)
}
